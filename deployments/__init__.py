"""How Pitboss runs on a floor of GPUs: work pools, workers, deployments, up and down."""
