"""Run the service on Kubernetes: manifests, cluster set-up and rollouts.

Where things are, in the order of their imports (each module knows only those above it):

    names          what the manifests, the set-up and the rollout must agree on
    shell          one way to run gcloud, kubectl and helm, or only to print what would run
    kubectl        one way to read and change a cluster
    sizes          how replicas fit into pods, and pods onto nodes
    render         what the manifests take from elsewhere   serve-app k8s render
    cluster        what any cluster needs first             serve-app k8s cluster
    gke            a GKE cluster and its identities         serve-app gke
    scaling_table  the README's table of scaling steps      python -m deploy.scaling_table
    status         status documents in, verdict out         serve-app k8s status
    checks         spans and logs of the pods               serve-app k8s diagnose
    smoke          predictions through the public address   serve-app k8s rollout smoke
    rollout        apply, wait, record, go back             serve-app k8s rollout

The manifests themselves are in ``kuberay``, beside this package.
"""
