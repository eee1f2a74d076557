# With a port of metrics that the inventory of the hosts opens: tests/terraform writes it, and puts in the port for [9402], once
# for each set of groups that has it.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  monitoring_cidrs = ["10.64.0.20/32", "192.168.7.0/24"]
  hosts = {
    "1" = { groups = ["zookeeper", "kafka", "spark_master", "spark_worker", "producer"] }
    "2" = { groups = ["streaming"] }
  }
}

run "a_prometheus_may_read_the_metrics_and_nothing_else" {
  command = plan

  assert {
    condition     = { for it in aws_vpc_security_group_ingress_rule.monitoring : it.cidr_ipv4 => it.from_port... } == { for cidr in var.monitoring_cidrs : cidr => [9402] }
    error_message = "each range must reach the port of the metrics"
  }
  assert {
    condition     = alltrue([for it in aws_vpc_security_group_ingress_rule.monitoring : it.to_port == it.from_port && it.tags.Name == "aws metrics"])
    error_message = "it must reach that port alone"
  }
}
