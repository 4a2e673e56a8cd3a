//go:build unix && !linux

package main

import "syscall"

// childAttributes: a process group of its own, so that the engine's interrupt to this host does not reach the program.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
