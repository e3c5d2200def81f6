"""diffusion_policy's and UMI's replay buffers."""
