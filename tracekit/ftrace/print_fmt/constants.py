"""Names in print formats whose values the format does not say and no kernel has changed."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["CONSTANTS"]

# enum fault_flag, include/linux/mm_types.h: by bit
_FAULT_FLAGS = (
    "WRITE", "MKWRITE", "ALLOW_RETRY", "RETRY_NOWAIT", "KILLABLE", "TRIED", "USER", "REMOTE",
    "INSTRUCTION", "INTERRUPTIBLE", "UNSHARE", "ORIG_PTE_VALID", "VMA_LOCK",
)  # fmt: skip
# enum ec_status, include/linux/platform_data/cros_ec_commands.h: the controller's protocol
_EC_RES = (
    "SUCCESS", "INVALID_COMMAND", "ERROR", "INVALID_PARAM", "ACCESS_DENIED", "INVALID_RESPONSE",
    "INVALID_VERSION", "INVALID_CHECKSUM", "IN_PROGRESS", "UNAVAILABLE", "TIMEOUT", "OVERFLOW",
    "INVALID_HEADER", "REQUEST_TRUNCATED", "RESPONSE_TOO_BIG", "BUS_ERROR", "BUSY",
    "INVALID_HEADER_VERSION", "INVALID_HEADER_CRC", "INVALID_DATA_CRC", "DUP_UNAVAILABLE",
)  # fmt: skip

#: Names that kernels leave unexpanded in their formats and whose values have not changed since
#: they were introduced. (The ``I_*`` inode flags have, so they are not here.)
CONSTANTS: Mapping[str, int] = {
    "true": 1, "false": 0, "NULL": 0,
    # Start of the struct page array, different in every boot. Pages are only printed with %p,
    # which the kernel hashes into an identifier; here the offset in the array identifies a page.
    "vmemmap_base": 0,
    # enum in include/net/tcp_states.h
    "TCP_ESTABLISHED": 1, "TCP_SYN_SENT": 2, "TCP_SYN_RECV": 3, "TCP_FIN_WAIT1": 4,
    "TCP_FIN_WAIT2": 5, "TCP_TIME_WAIT": 6, "TCP_CLOSE": 7, "TCP_CLOSE_WAIT": 8,
    "TCP_LAST_ACK": 9, "TCP_LISTEN": 10, "TCP_CLOSING": 11, "TCP_NEW_SYN_RECV": 12,
    # enum in include/uapi/linux/ioprio.h
    "IOPRIO_CLASS_NONE": 0, "IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3,
    "IOPRIO_CLASS_INVALID": 7,
    # enum hrtimer_mode, include/linux/hrtimer.h
    "HRTIMER_MODE_ABS": 0, "HRTIMER_MODE_REL": 1,
    "HRTIMER_MODE_ABS_PINNED": 2, "HRTIMER_MODE_REL_PINNED": 3,
    "HRTIMER_MODE_ABS_SOFT": 4, "HRTIMER_MODE_REL_SOFT": 5,
    "HRTIMER_MODE_ABS_PINNED_SOFT": 6, "HRTIMER_MODE_REL_PINNED_SOFT": 7,
    "HRTIMER_MODE_ABS_HARD": 8, "HRTIMER_MODE_REL_HARD": 9,
    "HRTIMER_MODE_ABS_PINNED_HARD": 10, "HRTIMER_MODE_REL_PINNED_HARD": 11,
    # enum pm_qos_req_action, include/linux/pm_qos.h
    "PM_QOS_ADD_REQ": 0, "PM_QOS_UPDATE_REQ": 1, "PM_QOS_REMOVE_REQ": 2,
    # enum vmscan_throttle_state, include/linux/mmzone.h
    "VMSCAN_THROTTLE_WRITEBACK": 0, "VMSCAN_THROTTLE_ISOLATED": 1,
    "VMSCAN_THROTTLE_NOPROGRESS": 2, "VMSCAN_THROTTLE_CONGESTED": 3,
    # enum in include/linux/printk.h
    "DUMP_PREFIX_NONE": 0, "DUMP_PREFIX_ADDRESS": 1, "DUMP_PREFIX_OFFSET": 2,
    # enum vm_fault_reason, include/linux/mm_types.h
    **{
        f"FAULT_FLAG_{name}": 1 << bit
        for bit, name in enumerate(_FAULT_FLAGS)
    },
    "VM_FAULT_OOM": 0x1, "VM_FAULT_SIGBUS": 0x2, "VM_FAULT_MAJOR": 0x4, "VM_FAULT_HWPOISON": 0x10,
    "VM_FAULT_HWPOISON_LARGE": 0x20, "VM_FAULT_SIGSEGV": 0x40, "VM_FAULT_NOPAGE": 0x100,
    "VM_FAULT_LOCKED": 0x200, "VM_FAULT_RETRY": 0x400, "VM_FAULT_FALLBACK": 0x800,
    "VM_FAULT_DONE_COW": 0x1000, "VM_FAULT_NEEDDSYNC": 0x2000, "VM_FAULT_COMPLETED": 0x4000,
    # enum cxl_event_log_type, drivers/cxl/cxlmem.h, as the CXL specification numbers the logs
    "CXL_EVENT_TYPE_INFO": 0, "CXL_EVENT_TYPE_WARN": 1, "CXL_EVENT_TYPE_FAIL": 2,
    "CXL_EVENT_TYPE_FATAL": 3,
    **{
        f"EC_RES_{name}": number
        for number, name in enumerate(_EC_RES)
    },
}  # fmt: skip
