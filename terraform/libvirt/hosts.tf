locals {
  # The machine's architecture, by the loader that its C library puts at a fixed place.
  machine_arch = fileexists("/lib64/ld-linux-x86-64.so.2") ? "x86_64" : "arm64"

  # The word that accelerator.sh found, before the mark of its run.
  accelerator_file = "${local.generated}/accelerator"
  accelerator      = var.accelerator != "auto" ? var.accelerator : regex("^\\S+", file(terraform_data.accelerator.output))
  emulated         = local.accelerator == "emulation"
  patience         = local.emulated ? 600 : 120

  machines = { for key, host in var.hosts : key => {
    name    = "${var.name}-${key}"
    machine = "${var.name}-${key}-${local.id}"
    address = local.addresses[key]
    # An address of the range that is kept for virtual machines by QEMU.
    mac = upper(join(":", concat(["52", "54", "00"], regexall("..", substr(sha256("${local.id}|${key}"), 0, 6)))))
  } }

  cpu = {
    "x86_64-kvm"       = "<cpu mode='host-passthrough'/>"
    "arm64-kvm"        = "<cpu mode='host-passthrough'/>"
    "x86_64-emulation" = "<cpu mode='custom' match='exact' check='none'><model fallback='forbid'>Nehalem</model></cpu>"
    "arm64-emulation"  = "<cpu mode='custom' match='exact' check='none'><model fallback='forbid'>cortex-a72</model></cpu>"
  }

  # Whether a host has run since it was last waited for: libvirt notes its process, and ready.sh what it saw.
  seen = { for key, it in local.machines : key => "${local.generated}/.${it.name}.ready" }
  runs = { for key, it in local.machines : key =>
    try(trimspace(file("/run/libvirt/qemu/${it.machine}.pid")), module.connection.local ? "" : "elsewhere")
  }
  marks = { for key, file in local.seen : key =>
    try(regex("^(\\S+) ${local.runs[key]}\n", file(file))[0], "")
  }
}

# Whether the file is there as it was written: what was never written differs from any state. Apart from what writes it,
# which deletes it before it writes it anew, and would find another answer in the middle of that.
resource "terraform_data" "accelerator_mark" {
  triggers_replace = try(regex(" (\\S+)", file(local.accelerator_file))[0], uuid())
}

# Whether KVM works is found by booting with it, once.
resource "terraform_data" "accelerator" {
  triggers_replace = [var.accelerator, var.arch, var.uri, terraform_data.accelerator_mark.triggers_replace]
  input            = local.accelerator_file

  provisioner "local-exec" {
    command = "${local.scripts}/accelerator.sh"
    environment = merge(local.environment, {
      LIBVIRT_ACCELERATOR      = var.accelerator
      LIBVIRT_ACCELERATOR_FILE = self.input
      LIBVIRT_MARK             = self.triggers_replace[3]
      LIBVIRT_KERNEL           = var.image == null ? "${local.image}/vmlinuz" : ""
    })
  }
  provisioner "local-exec" {
    when        = destroy
    command     = "rm -f \"$FILE\"; rmdir \"$(dirname \"$FILE\")\" 2>/dev/null || true"
    environment = { FILE = self.input }
  }

  depends_on = [terraform_data.image, module.key]
}

# Replacing one loses nothing: all that lasts is on its disks.
resource "libvirt_domain" "host" {
  for_each = local.machines

  name        = each.value.machine
  description = "Host ${each.value.name} of the pipeline; made by terraform/libvirt"
  type        = local.emulated ? "qemu" : "kvm"
  arch        = var.arch == "arm64" ? "aarch64" : var.arch
  machine     = var.arch == "arm64" ? "virt" : "q35"
  # Emulated, a second one makes JVMs crash (QEMU 7.2).
  vcpu      = local.emulated ? 1 : var.hosts[each.key].cpus
  memory    = var.hosts[each.key].memory_mb
  autostart = true

  kernel = var.image == null ? libvirt_volume.boot["kernel"].id : null
  initrd = var.image == null ? libvirt_volume.boot["initrd"].id : null
  cmdline = var.image == null ? [{
    root    = "/dev/vda"
    console = var.arch == "arm64" ? "ttyAMA0" : "ttyS0"
    panic   = "30"
  }] : null

  # The system disk is the only one on virtio-blk: always /dev/vda.
  disk {
    volume_id = libvirt_volume.system[each.key].id
  }
  # cloud-init finds it by its label.
  disk {
    volume_id = libvirt_volume.cloud_init[each.key].id
    scsi      = true
    wwn       = "5${substr(sha256("${local.id}|${each.key}|cloud-init"), 0, 15)}"
  }
  dynamic "disk" {
    for_each = local.host_data_disks[each.key]
    content {
      volume_id = libvirt_volume.data[disk.value].id
      scsi      = true
      wwn       = local.data_disks[disk.value].wwn
    }
  }

  network_interface {
    network_id = libvirt_network.hosts.id
    mac        = each.value.mac
  }

  console {
    type        = "pty"
    target_type = "serial"
    target_port = "0"
  }

  xml {
    xslt = templatefile("${path.module}/domain.xsl.tftpl", {
      cpu = local.cpu["${var.arch}-${local.accelerator}"]
      disks = merge(
        {
          vda = libvirt_volume.system[each.key].id
          sda = libvirt_volume.cloud_init[each.key].id
        },
        { for index, disk in local.host_data_disks[each.key] : "sd${substr("bcdefgh", index, 1)}" => libvirt_volume.data[disk].id },
      )
    })
  }

  lifecycle {
    # Where there is UEFI, libvirt chooses the firmware.
    ignore_changes = [firmware]
  }
}

# Before a virtual machine goes, its system is shut down in order: what services keep in memory reaches the disks.
resource "terraform_data" "shutdown" {
  for_each = local.machines

  triggers_replace = libvirt_domain.host[each.key].id
  input            = merge(local.environment, { LIBVIRT_MACHINE = each.value.machine })

  provisioner "local-exec" {
    when        = destroy
    command     = "${path.module}/scripts/shutdown.sh"
    environment = self.input
  }

  lifecycle {
    ignore_changes = [input]
  }
}

# A run of a virtual machine that was waited for; apart, as a machine that is replaced stops in the middle of that.
resource "terraform_data" "run" {
  for_each = local.machines

  triggers_replace = local.marks[each.key] == "" ? uuid() : local.marks[each.key]
}

# An apply ends when the hosts answer by ssh, also after one was started again.
resource "terraform_data" "ready" {
  for_each = local.machines

  triggers_replace = [
    libvirt_domain.host[each.key].id,
    terraform_data.run[each.key].triggers_replace,
  ]
  input = { file = local.seen[each.key] }

  provisioner "local-exec" {
    command = "${local.scripts}/ready.sh"
    environment = merge(local.environment, {
      LIBVIRT_HOST       = each.value.name
      LIBVIRT_ADDRESS    = each.value.address
      LIBVIRT_MACHINE    = each.value.machine
      LIBVIRT_SSH_CONFIG = module.inventory.ssh_config
      LIBVIRT_SECONDS    = local.patience
      LIBVIRT_FILE       = self.input.file
      LIBVIRT_MARK       = self.triggers_replace[1]
    })
  }
  provisioner "local-exec" {
    when        = destroy
    command     = "rm -f \"$FILE\"; rmdir \"$(dirname \"$FILE\")\" 2>/dev/null || true"
    environment = { FILE = self.input.file }
  }

  depends_on = [module.inventory]
}
