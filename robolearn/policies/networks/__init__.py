"""Networks: tensors in, tensors out; they know nothing of datasets, features or diffusion."""
