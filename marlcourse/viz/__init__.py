"""Pictures: colours, curves, live plots, animations, explorers. Matplotlib and ipywidgets load at first use."""
