# Three hosts that share all the parts and outlive any one of them. For a small start, and for trials of what
# cluster.tfvars does with ten.
replication_factor = 3

hosts = {
  core-1 = { groups = ["zookeeper", "kafka", "spark_master", "monitoring"], cpus = 2, memory_mb = 4096, disk_gb = 20, rack = "a" }
  core-2 = {
    groups    = ["zookeeper", "kafka", "spark_master", "spark_worker", "streaming", "producer"]
    cpus      = 2
    memory_mb = 8192
    disk_gb   = 20
    rack      = "b"
  }
  core-3 = {
    groups    = ["zookeeper", "kafka", "spark_worker", "streaming", "producer"]
    cpus      = 2
    memory_mb = 8192
    disk_gb   = 20
    rack      = "c"
  }
}
