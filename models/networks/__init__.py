"""The three networks of latent diffusion. They import `models.config` and nothing else of the library."""
