"""Networks: torch.nn only, no losses and no optimisers."""
