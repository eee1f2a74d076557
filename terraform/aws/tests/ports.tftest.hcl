# With ports that the inventory of the hosts changes, and those in the clear, which it asks for: tests/terraform writes it.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  monitoring_cidrs = ["10.64.0.20/32"]
  hosts = {
    "1" = { groups = ["zookeeper", "kafka", "spark_master", "spark_worker", "producer"] }
    "2" = { groups = ["streaming"] }
  }
}

run "ports_of_the_inventory" {
  command = plan

  assert {
    condition     = contains([for it in aws_vpc_security_group_ingress_rule.flow : it.from_port], 19092) && !contains([for it in aws_vpc_security_group_ingress_rule.flow : it.from_port], 9092)
    error_message = "the brokers' port must be that of the inventory"
  }
  assert {
    condition     = contains([for it in aws_vpc_security_group_ingress_rule.flow : it.from_port], 2181)
    error_message = "a port that the inventory does not change must be the pipeline's"
  }
  assert {
    condition     = contains([for it in aws_vpc_security_group_ingress_rule.flow : it.from_port], 2281)
    error_message = "ports by TLS must be open ahead of a switch to security"
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.monitoring) == 0
    error_message = "metrics that are not served must not be opened"
  }
}
