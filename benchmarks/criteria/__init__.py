"""What every generative model must show, one file per family; run by `model_criteria.py`."""
