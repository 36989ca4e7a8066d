"""A loss on frequencies."""

import torch


def fourier(restored: torch.Tensor, hq: torch.Tensor) -> torch.Tensor:
    """Mean modulus of the difference of the two spectra: ``N C H W`` twice -> scalar.

    Two-dimensional, each channel for itself, not normalised: an error of standard deviation s on every pixel of an
    n x n crop gives about 0.89 n s. So it outweighs a loss on pixels, and the more the larger the crop.

    Source: Deng et al., Reparameterized Residual Feature Network, CVPRW 2023, section 3.3, equation 4.
    """
    spectrum: torch.Tensor = torch.fft.fft2(restored - hq)
    return spectrum.abs().mean()
