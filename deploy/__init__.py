"""Run the service on Kubernetes: manifests, cluster set-up and rollouts.

Where things are, in the order of their imports (each module knows only those above it):

    names       what the manifests, the set-up and the rollout must agree on
    render      what the manifests take from elsewhere   serve-app k8s render
    command     one way to run gcloud, kubectl and helm, or only to print what would run
    cluster     what any cluster needs first             serve-app k8s cluster
    gke         a GKE cluster and its identities         python -m deploy.gke
    capacity    the README's table of scaling steps      python -m deploy.scaling_table
    kubectl     reads and changes the service's namespace
    status      status documents in, verdict out
    checks      predictions, spans, and diagnosis
    rollout     apply, wait, check, go back              serve-app k8s rollout
"""
