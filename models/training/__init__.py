"""How the bundled model is made: captioned storybook scenes, and beside them what learns from them."""
