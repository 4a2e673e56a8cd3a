package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
)

// python is an interpreter, with the virtual environment it belongs to.
type python struct {
	path       string
	virtualenv string // empty: none
}

// findPython follows the runtime options of Pulumi.yaml or PulumiPolicy.yaml. Without a virtualenv it takes fallback,
// or, when that is empty, the python3 on PATH.
func findPython(info *pulumirpc.ProgramInfo, fallback string) (python, error) {
	options := info.GetOptions().AsMap()
	for _, option := range []string{"typechecker", "toolchain"} {
		if value, set := options[option]; set && value != "pip" {
			return python{}, fmt.Errorf("runtime option %s: %v is not supported by this stand-in for the Python "+
				"language host; remove it, or install the official Pulumi release", option, value)
		}
	}
	virtualenv, _ := options["virtualenv"].(string)
	if virtualenv == "" {
		virtualenv = fallback
	}
	if virtualenv == "" {
		for _, name := range []string{"python3", "python"} {
			if path, err := exec.LookPath(name); err == nil {
				return python{path: path}, nil
			}
		}
		return python{}, fmt.Errorf("no python3 on PATH; install it, or set runtime.options.virtualenv")
	}
	directory := virtualenv
	if !filepath.IsAbs(directory) {
		directory = filepath.Join(info.GetRootDirectory(), directory)
	}
	path := filepath.Join(directory, "bin", "python")
	if _, err := os.Stat(path); err != nil {
		return python{}, fmt.Errorf("the runtime option virtualenv is %q, but %s is not a virtual environment; "+
			"make it with: python3 -m venv %s", virtualenv, directory, directory)
	}
	return python{path: path, virtualenv: directory}, nil
}

// command makes a process in a group of its own, which ends as a whole when ctx does, and with this host.
func (p python) command(ctx context.Context, args ...string) *exec.Cmd {
	process := exec.CommandContext(ctx, p.path, args...)
	process.Env = p.environment(os.Environ())
	process.SysProcAttr = childAttributes()
	process.Cancel = func() error { return syscall.Kill(-process.Process.Pid, syscall.SIGKILL) }
	process.WaitDelay = time.Second // for output that something outside the group still holds
	return process
}

// environment is what activating the virtual environment would give.
func (p python) environment(from []string) []string {
	if p.virtualenv == "" {
		return from
	}
	path := filepath.Join(p.virtualenv, "bin")
	env := slices.DeleteFunc(slices.Clone(from), func(entry string) bool {
		name, value, _ := strings.Cut(entry, "=")
		if name == "PATH" {
			path += string(os.PathListSeparator) + value
		}
		return name == "PATH" || name == "PYTHONHOME" || name == "VIRTUAL_ENV"
	})
	return append(env, "PATH="+path, "VIRTUAL_ENV="+p.virtualenv)
}
