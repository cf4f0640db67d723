"""Runs in a guest (see tests/lab/guests/test_iommu.py): a program that drives a device by VFIO.

``hold ADDRESS FILE``: opens the device as QEMU does, maps a page for its DMA, makes FILE, and keeps
the device bus master through its registers until the kernel stops the CPUs.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
import sys
import time
from pathlib import Path

# include/uapi/linux/vfio.h: _IO(';', 100 + n)
SET_IOMMU, SET_CONTAINER, GET_DEVICE_FD, MAP_DMA = 0x3B66, 0x3B68, 0x3B6A, 0x3B71
TYPE1V2, CONFIG_REGION = 3, 7 << 40
COMMAND, BUS_MASTER = 4, 4
IOVA, READ_WRITE = 0x100000, 3


def hold(address: str, target: str) -> None:
    group = Path(f"/sys/bus/pci/devices/{address}/iommu_group").resolve().name
    container = os.open("/dev/vfio/vfio", os.O_RDWR)
    group_fd = os.open(f"/dev/vfio/{group}", os.O_RDWR)
    fcntl.ioctl(group_fd, SET_CONTAINER, struct.pack("i", container))
    fcntl.ioctl(container, SET_IOMMU, TYPE1V2)
    page = mmap.mmap(-1, 4096)
    place = ctypes.addressof(ctypes.c_char.from_buffer(page))
    fcntl.ioctl(container, MAP_DMA, struct.pack("IIQQQ", 32, READ_WRITE, place, IOVA, 4096))
    device = fcntl.ioctl(group_fd, GET_DEVICE_FD, ctypes.create_string_buffer(address.encode()))
    while True:
        (command,) = struct.unpack("<H", os.pread(device, 2, CONFIG_REGION + COMMAND))
        os.pwrite(device, struct.pack("<H", command | BUS_MASTER), CONFIG_REGION + COMMAND)
        Path(target).touch()
        time.sleep(0.001)  # the other CPUs stop some ms after the device's shutdown


if __name__ == "__main__":
    hold(*sys.argv[2:])
