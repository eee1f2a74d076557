# Three brokers with their ensemble, two Spark masters, three workers, and two hosts at the edge for job and producer.
# The numbers at the ends of the keys spread the hosts over zones, where a target has some.
hosts = {
  core-1 = { groups = ["zookeeper", "kafka"], cpus = 2, memory_mb = 8192, disk_gb = 20 }
  core-2 = { groups = ["zookeeper", "kafka"], cpus = 2, memory_mb = 8192, disk_gb = 20 }
  core-3 = { groups = ["zookeeper", "kafka"], cpus = 2, memory_mb = 8192, disk_gb = 20 }

  spark-1 = { groups = ["spark_master"], cpus = 1, memory_mb = 2048, disk_gb = 20 }
  spark-2 = { groups = ["spark_master"], cpus = 1, memory_mb = 2048, disk_gb = 20 }

  worker-1 = { groups = ["spark_worker"], cpus = 2, memory_mb = 4096, disk_gb = 20 }
  worker-2 = { groups = ["spark_worker"], cpus = 2, memory_mb = 4096, disk_gb = 20 }
  worker-3 = { groups = ["spark_worker"], cpus = 2, memory_mb = 4096, disk_gb = 20 }

  edge-1 = { groups = ["streaming", "producer"], cpus = 2, memory_mb = 4096, disk_gb = 20 }
  edge-2 = { groups = ["streaming", "producer"], cpus = 2, memory_mb = 4096, disk_gb = 20 }
}
