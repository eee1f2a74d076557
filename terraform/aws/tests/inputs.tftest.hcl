# Wrong input is refused at plan time, by name; right input does what it says. Nothing is applied here.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  all   = ["zookeeper", "kafka", "spark_master", "spark_worker", "streaming", "producer"]
  hosts = { "1" = { groups = ["zookeeper", "kafka", "spark_master", "spark_worker", "streaming", "producer"] } }
}

# what is right

run "a_plain_plan_makes_one_host" {
  command = plan

  assert {
    condition     = keys(output.hosts) == ["aws-1"]
    error_message = "the host's name must be <name>-<key>"
  }
  assert {
    condition     = can(regex("^10\\.(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\\.", output.hosts["aws-1"]))
    error_message = "the derived subnet must lie in 10.64.0.0/10"
  }
  assert {
    condition     = aws_instance.host["1"].instance_type == "c7g.large"
    error_message = "2 cpus and 4096 MiB must be a c7g.large"
  }
  assert {
    condition     = output.urls["spark_master"] == { "aws-1" = "http://localhost:8080" }
    error_message = "URLs must be those of make tunnel"
  }
}

run "an_address_follows_from_subnet_zone_and_number" {
  command = plan

  variables {
    subnet = "10.80.0.0/20"
    hosts  = { "b-2" = { groups = [], number = 17 } }
  }

  assert {
    condition     = output.hosts["aws-b-2"] == "10.80.1.17"
    error_message = "key b-2 must lie in the second zone's /24, at its number"
  }
}

run "a_host_stays_when_others_come" {
  command = plan

  variables {
    hosts = {
      "0" = { groups = ["kafka", "spark_master", "streaming"] }
      "1" = { groups = ["zookeeper", "spark_worker", "producer"] }
      "z" = { groups = [] }
    }
  }

  assert {
    condition     = output.hosts["aws-1"] == run.a_plain_plan_makes_one_host.hosts["aws-1"]
    error_message = "address and zone of host 1 must not depend on the other hosts"
  }
}

run "a_zone_may_be_given" {
  command = plan

  variables {
    hosts = { "1" = { groups = var.all, zone = "eu-central-1c", number = 20 } }
  }

  assert {
    condition     = output.hosts["aws-1"] == cidrhost(aws_subnet.private["2"].cidr_block, 20) && aws_ebs_volume.data["1/kafka"].availability_zone == "eu-central-1c"
    error_message = "host and volume must lie in the zone that was given"
  }
}

run "instances_are_the_smallest_that_fit" {
  command = plan

  variables {
    hosts = {
      a = { groups = [], cpus = 1, memory_mb = 512 }
      b = { groups = [], cpus = 2, memory_mb = 8192 }
      c = { groups = [], cpus = 2, memory_mb = 8193 }
      d = { groups = [], cpus = 3, memory_mb = 4096 }
      e = { groups = [], cpus = 1, memory_mb = 65536 }
      f = { groups = [], instance_type = "t4g.medium" }
    }
  }

  assert {
    condition = { for key, it in aws_instance.host : key => it.instance_type } == {
      a = "c7g.medium", b = "m7g.large", c = "r7g.large", d = "c7g.xlarge", e = "r7g.2xlarge", f = "t4g.medium"
    }
    error_message = "types must follow from cpus and memory, and a given one must be taken"
  }
}

run "a_spark_worker_may_be_spot" {
  command = plan

  variables {
    termination_protection = true
    hosts = {
      a = { groups = ["zookeeper", "kafka", "spark_master", "streaming", "producer"] }
      w = { groups = ["spark_worker"], spot = true }
    }
  }

  assert {
    condition     = aws_instance.host["w"].instance_market_options[0].market_type == "spot" && length(aws_instance.host["a"].instance_market_options) == 0
    error_message = "the worker must be spot, and nothing else"
  }
  assert {
    condition     = aws_instance.host["a"].disable_api_termination && !aws_instance.host["w"].disable_api_termination
    error_message = "what is not spot must be protected"
  }
}

run "brokers_without_numbers_may_be_placed_by_hand" {
  command = plan

  variables {
    hosts = {
      a = { groups = var.all, zone = "eu-central-1a" }
      b = { groups = ["zookeeper", "kafka"], zone = "eu-central-1a" }
      c = { groups = ["zookeeper", "kafka"], zone = "eu-central-1a" }
    }
  }

  assert {
    condition     = alltrue([for it in values(output.hosts) : startswith(it, trimsuffix(aws_subnet.private["0"].cidr_block, "0/24"))])
    error_message = "zones that were given must be taken"
  }
}

run "data_volumes_have_sizes_of_their_own" {
  command = plan

  variables {
    volume_gb       = { kafka = 500 }
    final_snapshots = true
  }

  assert {
    condition     = aws_ebs_volume.data["1/kafka"].size == 500 && aws_ebs_volume.data["1/zookeeper"].size == 10
    error_message = "volume_gb must set the size of one and leave the other"
  }
  assert {
    condition     = aws_ebs_volume.data["1/kafka"].final_snapshot
    error_message = "final_snapshots must be asked for"
  }
}

run "a_key_encrypts_all" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
  }

  assert {
    condition     = aws_instance.host["1"].root_block_device[0].kms_key_id == var.kms_key_arn && aws_ebs_volume.data["1/kafka"].kms_key_id == var.kms_key_arn
    error_message = "volumes must be encrypted by the key"
  }
  assert {
    condition = one(one(aws_s3_bucket_server_side_encryption_configuration.output.rule).apply_server_side_encryption_by_default) == {
      sse_algorithm = "aws:kms", kms_master_key_id = var.kms_key_arn
    }
    error_message = "the bucket must be encrypted by the key"
  }
}

run "metrics_that_are_for_their_own_host_are_not_opened" {
  command = plan

  variables {
    monitoring_cidrs = ["10.64.0.20/32", "192.168.7.0/24"]
    hosts = {
      "1" = { groups = ["zookeeper", "kafka", "spark_master", "spark_worker", "producer"] }
      "2" = { groups = ["streaming"] }
    }
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.monitoring) == 0
    error_message = "without pipeline_monitoring a secured pipeline has no port of metrics to open"
  }
}

run "each_zone_may_have_its_nat" {
  command = plan

  variables {
    nat_per_zone = true
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 3
    error_message = "three zones must have three gateways"
  }
}

run "one_zone_fits_into_a_23" {
  command = plan

  variables {
    subnet = "10.80.4.0/23"
    zones  = ["eu-central-1b"]
  }

  assert {
    condition     = aws_subnet.private["0"].cidr_block == "10.80.4.0/24" && aws_subnet.public["0"].cidr_block == "10.80.5.0/26"
    error_message = "one /24 must be the hosts', the other the public ones'"
  }
}

# what is wrong with a variable alone; as many at once as there are variables, for the sake of time

run "values_of_the_wrong_shape_are_refused" {
  command = plan

  variables {
    name                   = "Not_a_host"
    region                 = "frankfurt"
    tags                   = { Name = "mine" }
    arch                   = "x86_64"
    debian_release         = "buster"
    debian_mirror          = "http://10.0.0.1/"
    subnet                 = "10.80.0.0"
    peer_cidrs             = ["office"]
    zones                  = ["eu-central-1a", "eu-central-1b", "eu-central-1c", "eu-central-1d"]
    egress                 = "open"
    access                 = "public"
    bastion_allowed_cidrs  = ["203.0.113.7/32", "0.0.0.0/0"]
    monitoring_cidrs       = ["prometheus"]
    ssm_agent_version      = "latest"
    volume_gb              = { kafka = 0 }
    kms_key_arn            = "alias/mine"
    output_noncurrent_days = 0.5
  }

  expect_failures = [
    var.name, var.region, var.tags, var.arch, var.debian_release, var.debian_mirror, var.subnet, var.peer_cidrs,
    var.zones, var.egress, var.access, var.bastion_allowed_cidrs, var.monitoring_cidrs, var.ssm_agent_version, var.volume_gb,
    var.kms_key_arn, var.output_noncurrent_days,
  ]
}

run "china_a_small_subnet_a_zone_twice_and_the_world_in_halves_are_refused" {
  command = plan

  variables {
    region                = "cn-north-1"
    subnet                = "10.80.0.0/24"
    zones                 = ["eu-central-1a", "eu-central-1a"]
    bastion_allowed_cidrs = ["0.0.0.0/1", "128.0.0.0/1"]
    monitoring_cidrs      = ["203.0.113.7/32"]
  }

  expect_failures = [var.region, var.subnet, var.zones, var.bastion_allowed_cidrs, var.monitoring_cidrs]
}

run "a_subnet_that_aws_refuses_and_the_world_of_ipv6_are_refused" {
  command = plan

  variables {
    subnet                = "10.0.0.0/8"
    zones                 = []
    bastion_allowed_cidrs = ["::/0"]
    monitoring_cidrs      = ["10.0.0.0/8"]
  }

  expect_failures = [var.subnet, var.zones, var.bastion_allowed_cidrs, var.monitoring_cidrs]
}

run "a_subnet_with_bits_behind_its_prefix_is_refused" {
  command = plan

  variables {
    subnet = "10.80.1.0/20"
  }

  expect_failures = [var.subnet]
}

# identity

run "another_name_needs_its_own_workspace" {
  command = plan
  variables {
    name = "second"
  }
  expect_failures = [terraform_data.preflight]
}

# instances

run "an_intel_instance_is_refused" {
  command = plan
  variables {
    hosts = { "1" = { groups = var.all, instance_type = "c5.large" } }
  }
  expect_failures = [terraform_data.preflight]
}

run "an_intel_instance_with_letters_behind_is_refused" {
  command = plan
  variables {
    hosts = { "1" = { groups = var.all, instance_type = "m7i-flex.large" } }
  }
  expect_failures = [terraform_data.preflight]
}

run "an_amd_instance_is_refused" {
  command = plan
  variables {
    hosts = { "1" = { groups = var.all, instance_type = "m7a.large" } }
  }
  expect_failures = [terraform_data.preflight]
}

run "a_gpu_instance_with_a_g_before_its_generation_is_refused" {
  command = plan
  variables {
    hosts = { "1" = { groups = var.all, instance_type = "g4dn.xlarge" } }
  }
  expect_failures = [terraform_data.preflight]
}

run "a_newer_gpu_instance_is_refused" {
  command = plan
  variables {
    hosts = { "1" = { groups = var.all, instance_type = "g6.xlarge" } }
  }
  expect_failures = [terraform_data.preflight]
}

run "an_instance_that_the_zone_does_not_have_is_refused" {
  command = plan
  variables {
    hosts = { "1" = { groups = var.all, instance_type = "x8g.large" } }
  }
  expect_failures = [terraform_data.preflight]
}

run "more_than_any_instance_has_is_refused" {
  command = plan
  variables {
    hosts = { "1" = { groups = var.all, cpus = 128 } }
  }
  expect_failures = [terraform_data.preflight]
}

run "a_spot_broker_is_refused" {
  command = plan
  variables {
    hosts = { "1" = { groups = var.all, spot = true } }
  }
  expect_failures = [terraform_data.preflight]
}

run "a_system_disk_too_small_for_debian_is_refused" {
  command = plan
  variables {
    hosts = { "1" = { groups = var.all, disk_gb = 4 } }
  }
  expect_failures = [terraform_data.preflight]
}

run "an_unknown_group_is_refused" {
  command = plan
  variables {
    hosts = { "1" = { groups = ["kafka", "cassandra"] } }
  }
  expect_failures = [terraform_data.preflight]
}

run "a_topology_without_a_broker_is_refused" {
  command = plan
  variables {
    hosts = { "1" = { groups = ["zookeeper", "spark_master", "spark_worker", "streaming", "producer"] } }
  }
  expect_failures = [terraform_data.preflight]
}

run "a_topology_without_workers_is_refused" {
  command = plan
  variables {
    hosts = { "1" = { groups = ["zookeeper", "kafka", "spark_master", "streaming", "producer"] } }
  }
  expect_failures = [terraform_data.preflight]
}

run "brokers_crowded_by_their_keys_are_refused" {
  command = plan
  variables {
    hosts = {
      a-1 = { groups = var.all }
      b-1 = { groups = ["zookeeper", "kafka"] }
      c-1 = { groups = ["zookeeper", "kafka"] }
    }
  }
  expect_failures = [terraform_data.preflight]
}

# network

run "a_subnet_too_small_for_its_zones_is_refused" {
  command = plan
  variables {
    subnet = "10.80.0.0/23"
  }
  expect_failures = [terraform_data.preflight]
}

run "a_subnet_within_a_peers_is_refused" {
  command = plan
  variables {
    subnet     = "10.80.0.0/20"
    peer_cidrs = ["192.168.0.0/16", "10.0.0.0/8"]
  }
  expect_failures = [terraform_data.preflight]
}

run "a_subnet_around_a_peers_is_refused" {
  command = plan
  variables {
    subnet     = "10.80.0.0/16"
    peer_cidrs = ["10.80.200.0/24"]
  }
  expect_failures = [terraform_data.preflight]
}

run "a_subnet_beside_a_peers_is_taken" {
  command = plan
  variables {
    subnet     = "10.80.0.0/20"
    peer_cidrs = ["10.80.16.0/20", "10.81.0.0/16"]
  }
  assert {
    condition     = aws_vpc.this.cidr_block == "10.80.0.0/20"
    error_message = "ranges that do not overlap must be no problem"
  }
}

run "a_zone_that_the_region_lacks_is_refused" {
  command = plan
  variables {
    zones = ["eu-central-1a", "eu-central-1z"]
  }
  expect_failures = [terraform_data.preflight]
}

run "a_hosts_zone_that_is_not_used_is_refused" {
  command = plan
  variables {
    hosts = { "1" = { groups = var.all, zone = "us-east-1a" } }
  }
  expect_failures = [terraform_data.preflight]
}

run "no_way_out_without_a_mirror_is_refused" {
  command = plan
  variables {
    egress = "endpoints"
  }
  expect_failures = [terraform_data.preflight]
}

# access

run "a_bastion_for_nobody_is_refused" {
  command = plan
  variables {
    access = "bastion"
  }
  expect_failures = [terraform_data.preflight]
}

run "an_allow_list_without_a_bastion_is_refused" {
  command = plan
  variables {
    bastion_allowed_cidrs = ["203.0.113.7/32"]
  }
  expect_failures = [terraform_data.preflight]
}
