# Wrong input is refused at plan time, by name. Nothing is applied here, and no libvirt is asked.

mock_provider "libvirt" {}

variables {
  uri         = "qemu+ssh://somewhere/system"
  accelerator = "emulation"
  hosts       = { "1" = { groups = ["zookeeper", "kafka", "spark_master", "spark_worker", "streaming", "producer"] } }
}

run "a_plain_plan_makes_one_host" {
  command = plan

  assert {
    condition     = keys(output.hosts) == ["libvirt-1"]
    error_message = "the host's name must be <name>-<key>"
  }
  assert {
    condition     = can(regex("^10\\.(19[2-9]|2[0-4][0-9]|25[0-5])\\.", output.hosts["libvirt-1"]))
    error_message = "the derived subnet must lie in 10.192.0.0/10"
  }
  assert {
    condition     = libvirt_network.hosts.mode == "nat" && !libvirt_network.hosts.dhcp[0].enabled
    error_message = "the network must be NAT with static addresses"
  }
}

run "an_emulated_host_has_one_cpu_and_says_so" {
  command = plan

  variables {
    hosts = { "1" = { groups = [], cpus = 4 } }
  }

  assert {
    condition     = libvirt_domain.host["1"].vcpu == 1 && libvirt_domain.host["1"].type == "qemu"
    error_message = "emulated, a second cpu makes JVMs crash"
  }
  assert {
    condition     = local.inventory_hosts["libvirt-1"].emulated && local.inventory_hosts["libvirt-1"].cpus == 1
    error_message = "Ansible must know that the host is emulated and how many cpus it has"
  }
}

run "with_kvm_a_host_has_the_cpus_that_were_asked_for" {
  command = plan

  variables {
    accelerator = "kvm"
    hosts       = { "1" = { groups = [], cpus = 4, memory_mb = 3000 } }
  }

  assert {
    condition     = libvirt_domain.host["1"].vcpu == 4 && libvirt_domain.host["1"].type == "kvm" && libvirt_domain.host["1"].memory == 3000
    error_message = "cpus and memory must be the topology's"
  }
  assert {
    condition     = !local.inventory_hosts["libvirt-1"].emulated
    error_message = "with KVM nothing is emulated"
  }
}

run "another_architecture_is_emulated_as_such" {
  command = plan

  variables {
    arch = "arm64"
  }

  assert {
    condition     = libvirt_domain.host["1"].arch == "aarch64" && libvirt_domain.host["1"].machine == "virt"
    error_message = "arm64 is libvirt's aarch64, on the machine type virt"
  }
}

run "kafka_and_zookeeper_have_disks_of_their_own" {
  command = plan

  variables {
    data_disk_gb = 7
  }

  assert {
    condition     = toset(keys(libvirt_volume.data)) == toset(["1-kafka", "1-zookeeper"])
    error_message = "one data disk for each"
  }
  assert {
    condition     = alltrue([for volume in libvirt_volume.data : volume.size == 7 * 1024 * 1024 * 1024])
    error_message = "data disks must have the size that was asked for"
  }
  assert {
    condition     = { for volume in local.inventory_hosts["libvirt-1"].volumes : volume.path => volume.device } == { for disk in local.data_disks : disk.path => "/dev/disk/by-id/wwn-0x${disk.wwn}" }
    error_message = "Ansible must be told the disks by a name that stays"
  }
  assert {
    condition     = toset([for disk in local.data_disks : disk.wwn if contains([for attached in libvirt_domain.host["1"].disk : coalesce(attached.wwn, "none")], disk.wwn)]) == toset([for disk in local.data_disks : disk.wwn])
    error_message = "the data disks must be attached by these names"
  }
}

run "a_host_without_data_has_no_data_disk" {
  command = plan

  variables {
    hosts = {
      "a" = { groups = ["zookeeper", "kafka", "spark_master", "streaming", "producer"] }
      "b" = { groups = ["spark_worker"] }
    }
  }

  assert {
    condition     = length(libvirt_domain.host["b"].disk) == 2 && length(libvirt_domain.host["a"].disk) == 4
    error_message = "a worker needs its system and cloud-init's disk alone"
  }
  assert {
    condition     = length(local.inventory_hosts["libvirt-b"].volumes) == 0
    error_message = "a worker has no volumes"
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
    condition     = split(".", output.hosts["libvirt-1"])[3] == split(".", run.a_plain_plan_makes_one_host.hosts["libvirt-1"])[3]
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
    condition     = output.hosts["libvirt-1"] == "10.200.1.17"
    error_message = "the address must be the subnet's seventeenth"
  }
  assert {
    condition     = libvirt_network.hosts.addresses == tolist(["10.200.1.0/24"])
    error_message = "the network must have the subnet"
  }
}

run "a_pool_that_is_there_is_used" {
  command = plan

  variables {
    pool = "default"
  }

  assert {
    condition     = length(libvirt_pool.hosts) == 0 && libvirt_volume.system["1"].pool == "default"
    error_message = "no pool is made then"
  }
  assert {
    condition     = startswith(libvirt_volume.system["1"].name, "imdb-")
    error_message = "in a pool of others our files must be told by their names"
  }
}

run "a_cloud_image_boots_by_its_own_loader" {
  command = plan

  variables {
    image = "https://images.example/debian-12-generic-amd64.qcow2"
  }

  assert {
    condition     = libvirt_volume.base.source == "https://images.example/debian-12-generic-amd64.qcow2" && libvirt_domain.host["1"].kernel == null
    error_message = "a given image must be the base, without a kernel from outside"
  }
  assert {
    condition     = length(terraform_data.image) == 0
    error_message = "nothing is to be made then"
  }
}

run "another_name_needs_its_own_workspace" {
  command = plan

  variables {
    name = "second"
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

run "an_unknown_accelerator_is_refused" {
  command = plan

  variables {
    accelerator = "hvf"
  }

  expect_failures = [var.accelerator]
}

run "another_machines_kvm_cannot_be_tried" {
  command = plan

  variables {
    accelerator = "auto"
  }

  expect_failures = [terraform_data.preflight]
}

run "an_unknown_debian_is_refused" {
  command = plan

  variables {
    debian_release = "buster"
  }

  expect_failures = [var.debian_release]
}

run "an_image_that_is_not_there_is_refused" {
  command = plan

  variables {
    image = "/no/such/image.qcow2"
  }

  expect_failures = [var.image]
}

run "a_session_connection_is_refused" {
  command = plan

  variables {
    uri = "qemu:///session"
  }

  expect_failures = [var.uri]
}

run "a_subnet_of_another_size_is_refused" {
  command = plan

  variables {
    subnet = "10.0.0.0/16"
  }

  expect_failures = [var.subnet]
}

run "a_pool_that_is_a_path_is_refused" {
  command = plan

  variables {
    pool = "/var/lib/libvirt/images"
  }

  expect_failures = [var.pool]
}

run "a_data_disk_of_no_size_is_refused" {
  command = plan

  variables {
    data_disk_gb = 0
  }

  expect_failures = [var.data_disk_gb]
}

run "a_relative_state_dir_is_refused" {
  command = plan

  variables {
    state_dir = "var/lib"
  }

  expect_failures = [var.state_dir]
}

run "a_system_disk_too_small_for_debian_is_refused" {
  command = plan

  variables {
    hosts = { "1" = { groups = [], disk_gb = 2 } }
  }

  expect_failures = [terraform_data.preflight]
}

run "a_topology_without_a_broker_is_refused" {
  command = plan

  variables {
    hosts = { "1" = { groups = ["zookeeper"] } }
  }

  expect_failures = [terraform_data.preflight]
}

run "a_topology_without_a_worker_is_refused" {
  command = plan

  variables {
    hosts = { "1" = { groups = ["zookeeper", "kafka", "spark_master", "streaming", "producer"] } }
  }

  expect_failures = [terraform_data.preflight]
}

run "an_unknown_group_is_refused" {
  command = plan

  variables {
    hosts = { "1" = { groups = ["zookeeper", "kafka", "spark_master", "spark_worker", "streaming", "producer", "redis"] } }
  }

  expect_failures = [terraform_data.preflight]
}
