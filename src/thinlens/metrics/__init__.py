"""How good a restored image is: PSNR, SSIM, and the protocol that says what exactly was measured."""
