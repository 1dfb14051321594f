"""Run the service on Kubernetes: manifests, cluster set-up and rollouts.

Where things are, in the order of their imports (each module knows only those above it):

    names       what the manifests, the set-up and the rollout must agree on
    render      what the manifests take from elsewhere   python -m kuberay.render
    command     one way to run gcloud, kubectl and helm, or only to print what would run
    cluster     what any cluster needs first             python -m kuberay.cluster
    gke         a GKE cluster and its identities         python -m kuberay.gke
    capacity    the README's table of scaling steps      python -m kuberay.capacity
    kubectl     reads and changes the service's namespace
    status      status documents in, verdict out
    checks      predictions, spans, and diagnosis
    rollout     apply, wait, check, go back              python -m kuberay.rollout
"""
