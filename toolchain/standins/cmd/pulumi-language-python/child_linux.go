package main

import "syscall"

// childAttributes: a process group of its own, so that the engine's interrupt to this host does not reach the
// program; the kernel ends it even when this host was killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
