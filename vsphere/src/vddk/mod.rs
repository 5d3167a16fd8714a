//! Disk streams by VMware's Virtual Disk Development Kit, in a process of their own.
