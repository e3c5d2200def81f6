"""A residual vector-quantised autoencoder of action chunks, as VQ-BeT uses it (Lee et al. 2024; RVQ: Zeghidour 2021).

    z = encoder(a),    r_1 = z,    c_q = argmin_c || r_q - e_{q,c} ||,    r_{q+1} = r_q - e_{q,c_q}
    a^ = decoder(sum_q e_{q,c_q}),    L = |a - a^| + w sum_q || r_q - sg e_{q,c_q} ||^2

with norms as means over their elements. The first code says roughly which action, the following ones refine it. The
entries e follow the mean of what they stand for, as in k-means, with a moving average over batches instead of a
gradient (van den Oord et al. 2017, A.1).
"""

from __future__ import annotations

import torch
import torch.distributed as distributed
from torch import Tensor, nn


class ResidualQuantizer(nn.Module):
    """Vectors to codes and back. The codebook is a parameter without gradient: averaged weights average it as well.

    Args:
        dim: of the vectors.
        layers, codes: Q codebooks of C entries.
        decay: of the moving average; small, so that entries keep up with an encoder that learns.
    """

    counts: Tensor

    def __init__(self, dim: int, layers: int, codes: int, decay: float = 0.8):
        super().__init__()
        self.decay = decay
        # near the origin, where each entry that is chosen by the first batch jumps to the mean of its rows
        self.codebook = nn.Parameter(0.01 * torch.randn(layers, codes, dim), requires_grad=False)
        self.register_buffer("counts", torch.ones(layers, codes))

    def forward(self, z: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantise (N, D); in training the entries move towards the rows of weight 1, those of weight 0 do not count.

        Returns:
            (N, D) quantised vectors with the gradient of z, (N, Q) codes, (N,) mean squared distances, added up over
            layers.
        """
        residual, codes, distance = z, [], torch.zeros_like(z[:, 0])
        for layer in range(len(self.codebook)):
            entries = self.codebook[layer].clone()
            code = torch.cdist(residual.detach(), entries).argmin(dim=1)
            if self.training:
                self._follow(layer, residual.detach(), code, weight)
            distance = distance + (residual - entries[code]).square().mean(dim=1)
            residual = residual - entries[code]
            codes.append(code)
        # straight through: the value of the entries, the gradient of z
        quantized = z + (z - residual - z).detach()
        return quantized, torch.stack(codes, dim=1), distance

    def embed(self, codes: Tensor) -> Tensor:
        """(N, Q) codes -> (N, D)."""
        layer = torch.arange(len(self.codebook), device=codes.device)
        return self.codebook[layer, codes].sum(dim=1)

    @torch.no_grad()
    def _follow(self, layer: int, rows: Tensor, code: Tensor, weight: Tensor) -> None:
        """Move the entries of one layer towards the mean of the rows they stand for, over all processes."""
        chosen = nn.functional.one_hot(code, self.codebook.shape[1]).to(rows.dtype) * weight[:, None]
        found = torch.cat([chosen.sum(dim=0)[:, None], chosen.T @ rows], dim=1)
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(found)
        count, total = found[:, :1], found[:, 1:]
        # counts n and entries e as moving averages: n' = d n + (1 - d) count, n' e' = d n e + (1 - d) total
        entries, counts = self.codebook[layer], self.counts[layer]
        counts.lerp_(count[:, 0], 1 - self.decay).clamp_min_(1e-6)
        entries += (1 - self.decay) * (total - count * entries) / counts[:, None]


class ChunkVq(nn.Module):
    """Chunks of actions to codes and back.

    Args:
        chunk_dim: numbers in a chunk, H * A.
        latent_dim, hidden_dim: of z, and of the two hidden layers of encoder and decoder.
        layers, codes: Q and C.
        commitment: w above.
    """

    def __init__(self, chunk_dim: int, latent_dim: int, hidden_dim: int, layers: int, codes: int, commitment: float):
        super().__init__()
        self.commitment = commitment
        self.encoder = _orthogonal_mlp(chunk_dim, hidden_dim, latent_dim)
        self.decoder = _orthogonal_mlp(latent_dim, hidden_dim, chunk_dim)
        self.quantizer = ResidualQuantizer(latent_dim, layers, codes)

    def forward(self, chunks: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H * A) chunks, (N,) 1 or 0 -> (N, Q) codes, (N,) losses. Rows of weight 0 move no codebook entry."""
        z = self.encoder(chunks)
        with torch.autocast(z.device.type, enabled=False):
            quantized, codes, distance = self.quantizer(z.float(), weight)
        reconstruction = (chunks - self.decoder(quantized)).abs().mean(dim=1)
        return codes, reconstruction + self.commitment * distance

    def decode(self, codes: Tensor) -> Tensor:
        """(N, Q) codes -> (N, H * A) chunks."""
        return self.decoder(self.quantizer.embed(codes))


def relu_mlp(*widths: int) -> nn.Sequential:
    """Linear layers of these widths with ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _orthogonal_mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    mlp = relu_mlp(inputs, hidden, hidden, outputs)
    for module in mlp:
        if isinstance(module, nn.Linear):
            nn.init.orthogonal_(module.weight)
            nn.init.zeros_(module.bias)
    return mlp
