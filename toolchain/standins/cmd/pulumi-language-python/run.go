package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"google.golang.org/grpc"

	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
)

//go:embed program.py
var program string

// messageShown is the program's exit code for: it failed, and the user has been told why.
const messageShown = 32

// settings are what program.py needs to know; the names are those of pulumi.runtime.Settings.
type settings struct {
	Monitor       string   `json:"monitor"`
	Engine        string   `json:"engine"`
	Project       string   `json:"project"`
	Stack         string   `json:"stack"`
	Parallel      int32    `json:"parallel"`
	DryRun        bool     `json:"dry_run"`
	Organization  string   `json:"organization"`
	RootDirectory string   `json:"root_directory"`
	Program       string   `json:"program"`
	Args          []string `json:"args"`
}

// Run runs the program. The stack's configuration travels in the program's environment, as with the real host.
func (h *host) Run(ctx context.Context, r *pulumirpc.RunRequest) (*pulumirpc.RunResponse, error) {
	python, err := findPython(r.Info, "")
	if err != nil {
		return nil, err
	}
	given, err := json.Marshal(settings{
		Monitor: r.MonitorAddress, Engine: h.engine, Project: r.Project, Stack: r.Stack, Parallel: r.Parallel,
		DryRun: r.DryRun, Organization: r.Organization, RootDirectory: r.GetInfo().GetRootDirectory(),
		Program: r.GetInfo().GetEntryPoint(), Args: r.Args,
	})
	if err != nil {
		return nil, err
	}
	config, err := configuration(r)
	if err != nil {
		return nil, err
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	process := python.command(ctx, "-u", "-c", program, string(given))
	process.Dir = r.Pwd
	if directory := r.GetInfo().GetProgramDirectory(); directory != "" {
		process.Dir = directory
	}
	process.Env = append(process.Env, config...)
	process.Stdout, process.Stderr = os.Stdout, os.Stderr

	var exit *exec.ExitError
	switch err := h.run(process, cancel); {
	case err == nil:
		return &pulumirpc.RunResponse{}, nil
	case !errors.As(err, &exit):
		return nil, fmt.Errorf("%s could not be run: %w", python.path, err)
	case exit.ExitCode() == messageShown:
		return &pulumirpc.RunResponse{Bail: true}, nil
	case exit.Exited():
		text := fmt.Sprintf("Program exited with non-zero exit code: %d", exit.ExitCode())
		return &pulumirpc.RunResponse{Error: text}, nil
	default:
		return &pulumirpc.RunResponse{Error: fmt.Sprintf("Program exited unexpectedly: %v", exit)}, nil
	}
}

// configuration is the environment variables that the SDK reads the stack's configuration from.
func configuration(r *pulumirpc.RunRequest) ([]string, error) {
	values := r.Config
	if values == nil {
		values = map[string]string{}
	}
	config, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	secretKeys, err := json.Marshal(append([]string{}, r.ConfigSecretKeys...))
	if err != nil {
		return nil, err
	}
	return []string{"PULUMI_CONFIG=" + string(config), "PULUMI_CONFIG_SECRET_KEYS=" + string(secretKeys)}, nil
}

// RunPlugin runs a program that serves the engine, such as a policy pack, until it ends or the engine has done with
// it. Like the real host it wants a virtual environment, by default the one in the directory venv.
func (h *host) RunPlugin(
	r *pulumirpc.RunPluginRequest, server grpc.ServerStreamingServer[pulumirpc.RunPluginResponse],
) error {
	python, err := findPython(r.Info, "venv")
	if err != nil {
		return err
	}
	main := filepath.Join(r.GetInfo().GetProgramDirectory(), "__main__.py")
	if _, err := os.Stat(main); err != nil {
		return fmt.Errorf("%s is needed: %w", main, err)
	}
	closer, stdout, stderr, err := rpcutil.MakeRunPluginStreams(server, false)
	if err != nil {
		return err
	}
	defer closer.Close()

	ctx, cancel := context.WithCancel(server.Context())
	defer cancel()
	process := python.command(ctx, append([]string{"-u", r.GetInfo().GetProgramDirectory()}, r.Args...)...)
	process.Dir, process.Env = r.Pwd, python.environment(r.Env)
	process.Stdout, process.Stderr = stdout, stderr

	code := 0
	var exit *exec.ExitError
	if err := h.run(process, cancel); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		return fmt.Errorf("%s could not be run: %w", python.path, err)
	}
	if err := closer.Close(); err != nil {
		return err
	}
	return server.Send(&pulumirpc.RunPluginResponse{
		Output: &pulumirpc.RunPluginResponse_Exitcode{Exitcode: int32(code)},
	})
}
