# Each wrong map of hosts is told by a sentence that names what is wrong.

variables {
  all = ["zookeeper", "kafka", "spark_master", "spark_worker", "streaming", "producer"]
}

run "a_host_with_every_part_has_no_problem" {
  command = plan

  variables {
    hosts = { "1" = { groups = var.all, cpus = 2, memory_mb = 8192, disk_gb = 20 } }
  }

  assert {
    condition     = length(output.problems) == 0
    error_message = output.message
  }
}

run "a_number_stays_when_others_come" {
  command = plan

  variables {
    hosts = {
      "0" = { groups = [], cpus = 2, memory_mb = 4096, disk_gb = 20 }
      "1" = { groups = [], cpus = 2, memory_mb = 4096, disk_gb = 20 }
      "z" = { groups = [], cpus = 2, memory_mb = 4096, disk_gb = 20, number = 249 }
    }
  }

  assert {
    condition     = output.numbers["1"] == run.a_host_with_every_part_has_no_problem.numbers["1"] && output.numbers["z"] == 249
    error_message = "a number must not depend on other hosts, and one that is given must be taken"
  }
  assert {
    condition     = length(output.problems) == 0
    error_message = "bare hosts, which all have no group, are no problem: ${output.message}"
  }
}

run "no_hosts" {
  command = plan

  variables {
    hosts = {}
  }

  assert {
    condition     = strcontains(output.message, "hosts is empty")
    error_message = output.message
  }
}

run "keys_unfit_for_host_names" {
  command = plan

  variables {
    hosts = {
      "Core_1"                = { groups = var.all, cpus = 2, memory_mb = 8192, disk_gb = 20 }
      "-a"                    = { groups = [], cpus = 2, memory_mb = 8192, disk_gb = 20 }
      "a-"                    = { groups = [], cpus = 2, memory_mb = 8192, disk_gb = 20 }
      "abcdefghijklmnopqrstu" = { groups = [], cpus = 2, memory_mb = 8192, disk_gb = 20 }
    }
  }

  assert {
    condition     = alltrue([for key in ["Core_1", "-a", "a-", "abcdefghijklmnopqrstu"] : strcontains(output.message, "The key \"${key}\" of hosts")])
    error_message = output.message
  }
}

run "an_unknown_group" {
  command = plan

  variables {
    hosts = { "1" = { groups = ["kafka", "cassandra"], cpus = 2, memory_mb = 8192, disk_gb = 20 } }
  }

  assert {
    condition     = output.problems == ["Host \"1\" has unknown groups [cassandra]. Known are zookeeper, kafka, spark_master, spark_worker, streaming, producer, monitoring."]
    error_message = output.message
  }
}

run "too_little_of_a_host" {
  command = plan

  variables {
    hosts = {
      cpus   = { groups = [], cpus = 0, memory_mb = 8192, disk_gb = 20 }
      half   = { groups = [], cpus = 1.5, memory_mb = 8192, disk_gb = 20 }
      memory = { groups = [], cpus = 2, memory_mb = 100, disk_gb = 20 }
      disk   = { groups = [], cpus = 2, memory_mb = 8192, disk_gb = 0 }
    }
  }

  assert {
    condition     = alltrue([for key in ["cpus", "half", "memory", "disk"] : strcontains(output.message, "Host \"${key}\" has")])
    error_message = output.message
  }
}

run "a_number_outside_the_subnet" {
  command = plan

  variables {
    hosts = {
      a = { groups = [], cpus = 2, memory_mb = 8192, disk_gb = 20, number = 300 }
      b = { groups = [], cpus = 2, memory_mb = 8192, disk_gb = 20, number = 1 }
      c = { groups = [], cpus = 2, memory_mb = 8192, disk_gb = 20, number = 20.5 }
    }
  }

  assert {
    condition     = alltrue([for key in ["a", "b", "c"] : strcontains(output.message, "Host \"${key}\" has the number")])
    error_message = output.message
  }
}

run "two_hosts_on_one_number" {
  command = plan

  variables {
    hosts = {
      a = { groups = [], cpus = 2, memory_mb = 8192, disk_gb = 20, number = 70 }
      b = { groups = [], cpus = 2, memory_mb = 8192, disk_gb = 20, number = 70 }
      c = { groups = [], cpus = 2, memory_mb = 8192, disk_gb = 20, number = 10 }
    }
  }

  assert {
    condition     = strcontains(output.message, "a -> 70, b -> 70") && strcontains(output.message, "the one that is new another `number` in hosts, such as 11 or 12;")
    error_message = output.message
  }
}

run "two_keys_whose_hashes_are_one_number" {
  command = plan

  variables {
    hosts = {
      zoo-1 = { groups = [], cpus = 2, memory_mb = 8192, disk_gb = 20 }
      job-2 = { groups = [], cpus = 2, memory_mb = 8192, disk_gb = 20 }
    }
  }

  assert {
    condition     = length(output.problems) == 1 && strcontains(output.message, "job-2 -> 238, zoo-1 -> 238")
    error_message = output.message
  }
}

run "parts_that_are_missing" {
  command = plan

  variables {
    hosts = {
      a = { groups = ["zookeeper", "spark_master", "streaming", "producer"], cpus = 2, memory_mb = 8192, disk_gb = 20 }
      b = { groups = [], cpus = 2, memory_mb = 8192, disk_gb = 20 }
    }
  }

  assert {
    condition     = length(output.problems) == 1 && strcontains(output.message, "No host has any of the groups kafka, spark_worker:")
    error_message = output.message
  }
}

run "an_even_ensemble" {
  command = plan

  variables {
    hosts = {
      a = { groups = var.all, cpus = 2, memory_mb = 8192, disk_gb = 20 }
      b = { groups = ["zookeeper"], cpus = 2, memory_mb = 8192, disk_gb = 20 }
    }
  }

  assert {
    condition     = length(output.problems) == 1 && strcontains(output.message, "zookeeper has 2 hosts (a, b)")
    error_message = output.message
  }
}

run "ids_are_the_numbers_at_the_ends_of_keys" {
  command = plan

  variables {
    hosts = {
      core-1  = { groups = ["zookeeper", "kafka", "spark_master"], cpus = 2, memory_mb = 8192, disk_gb = 20 }
      core-02 = { groups = ["zookeeper", "kafka"], cpus = 2, memory_mb = 8192, disk_gb = 20 }
      core-x  = { groups = ["zookeeper", "kafka"], cpus = 2, memory_mb = 8192, disk_gb = 20, number = 77 }
      other-1 = { groups = ["kafka"], cpus = 2, memory_mb = 8192, disk_gb = 20, id = 9 }
      core-0  = { groups = ["kafka"], cpus = 2, memory_mb = 8192, disk_gb = 20, number = 78 }
      edge-1  = { groups = ["spark_worker", "streaming", "producer"], cpus = 2, memory_mb = 8192, disk_gb = 20 }
    }
    replication_factor = 4
  }

  assert {
    condition     = output.ids == { core-0 = 78, core-1 = 1, core-02 = 2, core-x = 77, other-1 = 9, edge-1 = 1 }
    error_message = jsonencode(output.ids)
  }
  assert {
    condition     = length(output.problems) == 0
    error_message = output.message
  }
}

run "an_id_stays_when_another_host_goes" {
  command = plan

  variables {
    hosts = {
      core-02 = { groups = var.all, cpus = 2, memory_mb = 8192, disk_gb = 20 }
    }
  }

  assert {
    condition     = output.ids["core-02"] == run.ids_are_the_numbers_at_the_ends_of_keys.ids["core-02"]
    error_message = "an id must not depend on other hosts"
  }
}

run "one_id_twice_in_a_group" {
  command = plan

  variables {
    hosts = {
      core-1   = { groups = var.all, cpus = 2, memory_mb = 8192, disk_gb = 20 }
      broker-1 = { groups = ["kafka"], cpus = 2, memory_mb = 8192, disk_gb = 20 }
    }
  }

  assert {
    condition     = length(output.problems) == 1 && strcontains(output.message, "group kafka got one id: broker-1 -> 1, core-1 -> 1")
    error_message = output.message
  }
}

run "ids_that_zookeeper_does_not_take" {
  command = plan

  variables {
    hosts = {
      core-0   = { groups = var.all, cpus = 2, memory_mb = 8192, disk_gb = 20, id = 0 }
      core-256 = { groups = ["kafka"], cpus = 2, memory_mb = 8192, disk_gb = 20, id = 256 }
      core-1   = { groups = ["kafka"], cpus = 2, memory_mb = 8192, disk_gb = 20, id = 1.5 }
    }
  }

  assert {
    condition     = length(output.problems) == 3 && alltrue([for key in ["core-0", "core-256", "core-1"] : strcontains(output.message, "Host \"${key}\" would have the id")])
    error_message = output.message
  }
}

run "racks_for_some_brokers_only" {
  command = plan

  variables {
    hosts = {
      core-1   = { groups = var.all, cpus = 2, memory_mb = 8192, disk_gb = 20, rack = "a" }
      broker-2 = { groups = ["kafka"], cpus = 2, memory_mb = 8192, disk_gb = 20 }
    }
  }

  assert {
    condition     = length(output.problems) == 1 && strcontains(output.message, "some hosts have a rack and broker-2 none")
    error_message = output.message
  }
}

run "more_replicas_than_brokers" {
  command = plan

  variables {
    hosts = {
      core-1   = { groups = var.all, cpus = 2, memory_mb = 8192, disk_gb = 20 }
      broker-2 = { groups = ["kafka"], cpus = 2, memory_mb = 8192, disk_gb = 20 }
    }
    replication_factor = 3
  }

  assert {
    condition     = output.problems == ["replication_factor is 3, and the group kafka has 2 hosts (broker-2, core-1): each replica needs a broker of its own. Ask for 2 at most, or add brokers."]
    error_message = output.message
  }
}

run "a_replication_factor_that_is_no_number_of_replicas" {
  command = plan

  variables {
    hosts              = { core-1 = { groups = var.all, cpus = 2, memory_mb = 8192, disk_gb = 20 } }
    replication_factor = 0
  }

  assert {
    condition     = length(output.problems) == 1 && strcontains(output.message, "replication_factor is 0;")
    error_message = output.message
  }
}
