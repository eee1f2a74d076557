# Wrong input is refused at plan time, by name. Nothing is applied here.

variables {
  hosts = { "1" = { groups = ["zookeeper", "kafka", "spark_master", "spark_worker", "streaming", "producer"] } }
}

run "a_plain_plan_makes_one_host" {
  command = plan

  assert {
    condition     = keys(output.hosts) == ["local-1"]
    error_message = "the host's name must be <name>-<key>"
  }
  assert {
    condition     = can(regex("^10\\.(19[2-9]|2[0-4][0-9]|25[0-5])\\.", output.hosts["local-1"]))
    error_message = "the derived subnet must lie in 10.192.0.0/10"
  }
}

run "a_host_keeps_its_address_when_others_come" {
  command = plan

  variables {
    hosts = {
      "0" = { groups = ["kafka", "spark_master", "streaming"] }
      "1" = { groups = ["zookeeper", "spark_worker", "producer"] }
      "z" = { groups = [] }
    }
  }

  assert {
    condition     = split(".", output.hosts["local-1"])[3] == split(".", run.a_plain_plan_makes_one_host.hosts["local-1"])[3]
    error_message = "the address of host 1 must not depend on the other hosts"
  }
}

run "a_given_subnet_and_number_make_the_address" {
  command = plan

  variables {
    subnet = "10.200.1.0/24"
    hosts  = { "1" = { groups = [], number = 17 } }
  }

  assert {
    condition     = output.hosts["local-1"] == "10.200.1.17"
    error_message = "the address must be the subnet's seventeenth"
  }
}

run "another_name_needs_its_own_workspace" {
  command = plan

  variables {
    name = "second"
  }

  expect_failures = [terraform_data.preflight]
}

run "another_targets_input_is_refused" {
  command = plan

  variables {
    target = "aws"
  }

  expect_failures = [terraform_data.preflight]
}

run "a_name_that_is_no_environments_is_refused" {
  command = plan

  variables {
    name = "pipeline"
  }

  expect_failures = [terraform_data.preflight]
}

run "a_name_unfit_for_hosts_is_refused" {
  command = plan

  variables {
    name = "Not_a_host"
  }

  expect_failures = [var.name]
}

run "an_unknown_arch_is_refused" {
  command = plan

  variables {
    arch = "riscv64"
  }

  expect_failures = [var.arch]
}

run "a_subnet_of_another_size_is_refused" {
  command = plan

  variables {
    subnet = "10.0.0.0/16"
  }

  expect_failures = [var.subnet]
}

run "a_name_server_on_the_hosts_loopback_is_refused" {
  command = plan

  variables {
    name_servers = ["127.0.0.53"]
  }

  expect_failures = [var.name_servers]
}

run "a_name_server_that_is_a_name_is_refused" {
  command = plan

  variables {
    name_servers = ["dns.example.org"]
  }

  expect_failures = [var.name_servers]
}

run "a_relative_state_dir_is_refused" {
  command = plan

  variables {
    state_dir = "var/lib"
  }

  expect_failures = [var.state_dir]
}

run "a_topology_without_a_broker_is_refused" {
  command = plan

  variables {
    hosts = { "1" = { groups = ["zookeeper"] } }
  }

  expect_failures = [terraform_data.preflight]
}
