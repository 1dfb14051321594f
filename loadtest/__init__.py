"""Load, scale and plan the service: what it does under traffic, and how much of it is needed.

Where things are, in the order of their imports (each module knows only those above it):

    command_line     what all command lines have in common
    signals          a cancelled run stops in order
    scenarios        what load is offered, and when
    options          the load test's own options
    answers          requests worth sending, and what is wrong with an answer
    thresholds       what a load test must not break
    curve            the file of a saturation curve
    history          what Locust writes, read while it writes
    clients          the load test's users
    shape            their number over time
    locustfile       the load test                       locust -f loadtest/locustfile.py

    ray_answers      what the answers of Ray's dashboard mean
    dashboard        asks it
    kubernetes       pods and nodes, from kubectl
    samples          what was seen in each second, and what follows from it
    watch            Locust and all sources together, once a second
    live             the table in the terminal
    run              a load test, watched until the service is at rest
    scale_chart      the picture of a run
    report           the page of a run
    local_cluster    a Ray cluster with an autoscaler on this machine
    deployed         what serve_config.yaml says about the deployment
    one_machine      honest targets for nodes that share one machine
    services         what is loaded: a service of its own, or one that runs already
    scale            watch it scale                      serve-app scale
    policy_results   what a policy did with a sudden load
    policies         policies under the same load        python -m studies.policies

    queueing         queueing formulas
    replica_model    a replica's response times, fitted to a curve
    machines         replicas into pods, pods onto nodes
    sizing           how many of them a load needs
    capacity         the plan, as a command needs      serve-app plan
    traffic          requests per second over time
    autoscaler       Serve's autoscaling loop without a cluster
    simulation       a day of traffic against it
    simulation_chart the picture of that day
    simulate         tune before paying                  serve-app simulate
"""
