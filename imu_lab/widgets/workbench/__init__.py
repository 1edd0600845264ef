"""The workbench: the pipeline behind sliders."""
