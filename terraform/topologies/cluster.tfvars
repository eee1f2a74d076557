# Three brokers with their ensemble, two Spark masters, three workers, and two hosts at the edge for job and producer.
# The numbers at the ends of the keys are the ids in ZooKeeper and Kafka, and spread the hosts over zones, where a target
# has some; elsewhere replicas are spread over the racks given here. Another line is another host.
replication_factor = 3

hosts = {
  core-1 = { groups = ["zookeeper", "kafka"], cpus = 2, memory_mb = 8192, disk_gb = 20, rack = "a" }
  core-2 = { groups = ["zookeeper", "kafka"], cpus = 2, memory_mb = 8192, disk_gb = 20, rack = "b" }
  core-3 = { groups = ["zookeeper", "kafka"], cpus = 2, memory_mb = 8192, disk_gb = 20, rack = "c" }

  spark-1 = { groups = ["spark_master"], cpus = 1, memory_mb = 2048, disk_gb = 20 }
  spark-2 = { groups = ["spark_master", "monitoring"], cpus = 1, memory_mb = 2048, disk_gb = 20 }

  worker-1 = { groups = ["spark_worker"], cpus = 2, memory_mb = 4096, disk_gb = 20 }
  worker-2 = { groups = ["spark_worker"], cpus = 2, memory_mb = 4096, disk_gb = 20 }
  worker-3 = { groups = ["spark_worker"], cpus = 2, memory_mb = 4096, disk_gb = 20 }

  edge-1 = { groups = ["streaming", "producer"], cpus = 2, memory_mb = 4096, disk_gb = 20 }
  edge-2 = { groups = ["streaming", "producer"], cpus = 2, memory_mb = 4096, disk_gb = 20 }
}
