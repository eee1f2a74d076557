# What must hold of every topology, whatever way in and out: tests/terraform runs this with each of topologies/*.tfvars.

mock_provider "aws" {
  source = "./tests/mocks"
}

run "ssm_and_nat" {
  command = plan

  assert {
    condition     = alltrue([for it in aws_vpc_security_group_ingress_rule.flow : it.cidr_ipv4 == null && it.cidr_ipv6 == null && it.prefix_list_id == null])
    error_message = "a flow must come from a security group, not from a range of addresses"
  }
  assert {
    condition = alltrue([for it in merge(aws_vpc_security_group_ingress_rule.flow, aws_vpc_security_group_egress_rule.flow) :
    it.ip_protocol == "tcp" && it.from_port > 1023 && it.to_port >= it.from_port])
    error_message = "a flow must be tcp to ports of services"
  }
  assert {
    condition     = keys(aws_vpc_security_group_ingress_rule.flow) == keys(aws_vpc_security_group_egress_rule.flow)
    error_message = "each flow must have a rule at both ends"
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.ssh) == 0 && length(aws_instance.bastion) == 0
    error_message = "with Session Manager nothing must listen for ssh"
  }
  assert {
    condition     = alltrue([for it in aws_vpc_security_group_egress_rule.outside : contains([80, 443, 123], it.to_port)])
    error_message = "nothing but http(s) and time may go out"
  }
  assert {
    condition     = length(aws_default_security_group.closed.ingress) == 0 && length(aws_default_security_group.closed.egress) == 0
    error_message = "the VPC's own security group must be closed"
  }
  assert {
    condition = alltrue([for it in aws_instance.host :
      it.metadata_options[0].http_tokens == "required" && it.metadata_options[0].http_put_response_hop_limit == 1
    ])
    error_message = "IMDSv2 must be required"
  }
  assert {
    condition     = alltrue([for it in aws_instance.host : it.root_block_device[0].encrypted]) && alltrue([for it in aws_ebs_volume.data : it.encrypted])
    error_message = "every volume must be encrypted"
  }
  assert {
    condition     = alltrue([for it in aws_instance.host : can(regex("^[cmr]7g\\.", it.instance_type))])
    error_message = "every host must be a Graviton instance"
  }
  assert {
    condition     = alltrue([for it in aws_subnet.private : !it.map_public_ip_on_launch]) && alltrue([for it in aws_subnet.public : !it.map_public_ip_on_launch])
    error_message = "no subnet may give out public addresses"
  }
  assert {
    condition     = length(distinct(values(output.hosts))) == length(output.hosts)
    error_message = "every host must have an address of its own"
  }
  assert {
    condition = toset(keys(aws_ebs_volume.data)) == toset(flatten([for key, host in var.hosts : [
      for service in ["kafka", "zookeeper"] : "${key}/${service}" if contains(host.groups, service)
    ]]))
    error_message = "Kafka and ZooKeeper must have volumes of their own, and nothing else"
  }
  assert {
    condition     = alltrue([for it in values(aws_volume_attachment.data) : it.stop_instance_before_detaching])
    error_message = "a volume must not be taken from a running host"
  }
  assert {
    condition = length(distinct([for key, host in var.hosts : aws_ebs_volume.data["${key}/kafka"].availability_zone if contains(host.groups, "kafka")])) == min(
    3, length([for host in var.hosts : host if contains(host.groups, "kafka")]))
    error_message = "brokers must be spread over the zones"
  }
  assert {
    condition = alltrue([for it in [aws_s3_bucket_public_access_block.output] :
    it.block_public_acls && it.block_public_policy && it.ignore_public_acls && it.restrict_public_buckets])
    error_message = "the bucket must be private"
  }
  assert {
    condition     = aws_s3_bucket_versioning.output.versioning_configuration[0].status == "Enabled" && !aws_s3_bucket.output.force_destroy
    error_message = "the bucket must be versioned, and kept if it is not empty"
  }
  assert {
    condition     = toset(keys(output.urls)) == toset(["spark_master", "spark_worker", "streaming"])
    error_message = "every web UI must have its URL"
  }
  assert {
    condition     = alltrue([for it in aws_instance.host : length(it.user_data) > 5000])
    error_message = "without its agent nobody reaches a host by Session Manager"
  }
}

run "bastion_and_nat" {
  command = plan

  variables {
    access                = "bastion"
    bastion_allowed_cidrs = ["203.0.113.7/32", "198.51.100.0/24"]
  }

  assert {
    condition     = toset([for it in aws_vpc_security_group_ingress_rule.bastion : it.cidr_ipv4]) == toset(var.bastion_allowed_cidrs)
    error_message = "the bastion must be open to its allow-list, and to nothing else"
  }
  assert {
    condition     = alltrue([for it in merge(aws_vpc_security_group_ingress_rule.flow, aws_vpc_security_group_ingress_rule.ssh) : it.cidr_ipv4 == null && it.cidr_ipv6 == null])
    error_message = "hosts must be open to security groups only"
  }
  assert {
    condition     = alltrue([for it in aws_vpc_security_group_ingress_rule.ssh : it.from_port == 22 && it.to_port == 22])
    error_message = "the bastion must lead to ssh alone"
  }
  assert {
    condition     = aws_instance.bastion[0].metadata_options[0].http_tokens == "required" && aws_instance.bastion[0].root_block_device[0].encrypted
    error_message = "the bastion must be no weaker than the hosts"
  }
  assert {
    condition     = keys(aws_iam_role.host) == ["writer"]
    error_message = "a host that neither writes nor is reached by Session Manager needs no role"
  }
  assert {
    condition     = alltrue([for it in aws_instance.host : !strcontains(it.user_data, "AGENT_URL")])
    error_message = "with a bastion hosts need no agent"
  }
}

run "ssm_and_endpoints" {
  command = plan

  variables {
    egress        = "endpoints"
    debian_mirror = "http://10.64.0.10/debian"
    subnet        = "10.90.0.0/20"
    peer_cidrs    = ["10.64.0.0/24"]
  }

  assert {
    condition     = length(aws_internet_gateway.this) == 0 && length(aws_nat_gateway.this) == 0 && length(aws_route.nat) == 0 && length(aws_subnet.public) == 0
    error_message = "there must be no way out of the VPC"
  }
  assert {
    condition     = keys(aws_vpc_endpoint.interface) == ["ec2messages", "ssm", "ssmmessages"]
    error_message = "Session Manager needs its three endpoints"
  }
  assert {
    condition = toset(flatten([for it in aws_vpc_endpoint.interface : [for subnet in it.subnet_configuration : subnet.ipv4]])) == toset(
      flatten([for it in aws_subnet.private : [for number in [250, 251, 252] : cidrhost(it.cidr_block, number)]])
    )
    error_message = "an endpoint must not take an address that may be a host's, which are 10 to 249"
  }
  assert {
    condition     = toset([for it in aws_vpc_security_group_egress_rule.outside : it.cidr_ipv4]) == toset(["10.90.0.0/20", "10.64.0.0/24"])
    error_message = "hosts may talk to the VPC and its peers only"
  }
  assert {
    condition     = alltrue([for it in merge(aws_vpc_security_group_ingress_rule.flow, aws_vpc_security_group_ingress_rule.endpoints) : it.cidr_ipv4 == null && it.cidr_ipv6 == null])
    error_message = "nothing may be open to a range"
  }
  assert {
    condition     = alltrue([for it in aws_instance.host : strcontains(it.user_data, "deb http://10.64.0.10/debian bookworm main\n")])
    error_message = "hosts must take packages from the mirror"
  }
}

run "bastion_and_endpoints" {
  command = plan

  variables {
    access                = "bastion"
    bastion_allowed_cidrs = ["203.0.113.7/32"]
    egress                = "endpoints"
    debian_mirror         = "https://10.64.0.10/debian"
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 0 && length(aws_route.nat) == 0 && length(aws_vpc_endpoint.interface) == 0
    error_message = "hosts must have no way out"
  }
  assert {
    condition     = length(aws_subnet.public) == 1 && length(aws_route.public) == 1
    error_message = "the bastion, and it alone, must have a way in"
  }
  assert {
    condition     = alltrue([for it in aws_vpc_security_group_ingress_rule.bastion : it.cidr_ipv4 == "203.0.113.7/32"])
    error_message = "the bastion must be open to its allow-list, and to nothing else"
  }
}
