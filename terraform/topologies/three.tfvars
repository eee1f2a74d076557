# Three hosts that share all the parts: brokers and ensemble outlive any one of them, the one Spark master and the job do
# not. For a small start, and for trials of what cluster.tfvars does with ten.
replication_factor = 3

hosts = {
  core-1 = { groups = ["zookeeper", "kafka", "spark_master"], cpus = 2, memory_mb = 4096, disk_gb = 20, rack = "a" }
  core-2 = { groups = ["zookeeper", "kafka", "spark_worker"], cpus = 2, memory_mb = 6144, disk_gb = 20, rack = "b" }
  core-3 = { groups = ["zookeeper", "kafka", "streaming", "producer"], cpus = 2, memory_mb = 4096, disk_gb = 20, rack = "c" }
}
