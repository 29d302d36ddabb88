"""What `trueup.yaml` says, typed and checked."""
