"""Pictures: in and out of files, colour, tiles, MATLAB's resize, PSNR and SSIM. Needs no TVM and no torch."""
