# One host that has every part of the pipeline.
hosts = {
  "1" = {
    groups    = ["zookeeper", "kafka", "spark_master", "spark_worker", "streaming", "producer", "monitoring"]
    cpus      = 2
    memory_mb = 8192
    disk_gb   = 20
  }
}
