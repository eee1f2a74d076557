# What holds for every topology: terraform test -filter=tests/topology.tftest.hcl -var-file=../topologies/NAME.tfvars

mock_provider "libvirt" {}

variables {
  uri         = "qemu+ssh://somewhere/system"
  accelerator = "kvm"
}

run "every_host_is_made_with_what_its_groups_need" {
  command = plan

  assert {
    condition     = toset(keys(libvirt_domain.host)) == toset(keys(var.hosts)) && toset(keys(output.hosts)) == toset([for key in keys(var.hosts) : "libvirt-${key}"])
    error_message = "every host of the topology must be made, under its name"
  }
  assert {
    condition     = length(distinct(values(output.hosts))) == length(var.hosts)
    error_message = "every host must have an address of its own"
  }
  assert {
    condition     = alltrue([for key, host in var.hosts : libvirt_domain.host[key].vcpu == host.cpus && libvirt_domain.host[key].memory == host.memory_mb])
    error_message = "every host must have the cpus and the memory of the topology"
  }
  assert {
    condition = alltrue([for key, host in var.hosts :
      toset([for volume in local.inventory_hosts["libvirt-${key}"].volumes : volume.path]) == toset([for group in ["kafka", "zookeeper"] : "/var/lib/${group}" if contains(host.groups, group)])
    ])
    error_message = "hosts of Kafka and ZooKeeper must have a data disk for each, others none"
  }
  assert {
    condition     = length(distinct([for disk in local.data_disks : disk.wwn])) == length(local.data_disks)
    error_message = "every data disk must have a name of its own"
  }
  assert {
    condition     = alltrue([for key, host in var.hosts : local.inventory_hosts["libvirt-${key}"].groups == host.groups])
    error_message = "the inventory must have the topology's groups"
  }
  assert {
    condition     = length(distinct([for it in local.machines : it.mac])) == length(var.hosts)
    error_message = "every host must have a hardware address of its own"
  }
}
