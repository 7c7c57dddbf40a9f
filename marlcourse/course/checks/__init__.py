"""One module for each chapter, `chNN.py`: its exercises and its quiz. See docs/authoring.md."""
