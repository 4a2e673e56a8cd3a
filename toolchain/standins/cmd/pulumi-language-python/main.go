// Command pulumi-language-python stands in for the official Python language host where only package registries can
// be reached: it runs Python programs and policy packs in their virtual environment. README.md beside go.mod says
// where the two differ.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"

	"lastcopy/standins/internal/plug"
)

const version = "3.259.0" // the engine and the SDK that this host goes with

func main() {
	plug.Serve(version, func(ctx context.Context, server *grpc.Server, engine plug.Engine) {
		ctx, cancel := context.WithCancel(ctx)
		pulumirpc.RegisterLanguageRuntimeServer(server, &host{life: ctx, cancel: cancel, engine: engine.Address})
	})
}

// host runs Python for the engine. Whatever it starts ends with its life.
type host struct {
	pulumirpc.UnimplementedLanguageRuntimeServer
	life   context.Context
	cancel context.CancelFunc
	engine string
}

// Handshake is the engine's first call.
func (h *host) Handshake(
	_ context.Context, r *pulumirpc.LanguageHandshakeRequest,
) (*pulumirpc.LanguageHandshakeResponse, error) {
	h.engine = r.EngineAddress
	return &pulumirpc.LanguageHandshakeResponse{}, nil
}

// GetPluginInfo tells the version of the host that this one stands in for.
func (h *host) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: version}, nil
}

// GetRequiredPlugins names none: each resource asks for its plugin, with its version, when it is registered.
func (h *host) GetRequiredPlugins(
	context.Context, *pulumirpc.GetRequiredPluginsRequest,
) (*pulumirpc.GetRequiredPluginsResponse, error) {
	return &pulumirpc.GetRequiredPluginsResponse{}, nil
}

// GetRequiredPackages names none, for the same reason.
func (h *host) GetRequiredPackages(
	context.Context, *pulumirpc.GetRequiredPackagesRequest,
) (*pulumirpc.GetRequiredPackagesResponse, error) {
	return &pulumirpc.GetRequiredPackagesResponse{}, nil
}

// InstallDependencies says that it installs nothing.
func (h *host) InstallDependencies(
	r *pulumirpc.InstallDependenciesRequest,
	server grpc.ServerStreamingServer[pulumirpc.InstallDependenciesResponse],
) error {
	text := "this stand-in for the Python language host installs nothing: " +
		"fill the program's virtual environment with pip\n"
	return server.Send(&pulumirpc.InstallDependenciesResponse{Stdout: []byte(text)})
}

// RuntimeOptionsPrompts asks nothing.
func (h *host) RuntimeOptionsPrompts(
	context.Context, *pulumirpc.RuntimeOptionsRequest,
) (*pulumirpc.RuntimeOptionsResponse, error) {
	return &pulumirpc.RuntimeOptionsResponse{}, nil
}

// About tells which Python runs the program.
func (h *host) About(ctx context.Context, r *pulumirpc.AboutRequest) (*pulumirpc.AboutResponse, error) {
	python, err := findPython(r.GetInfo(), "")
	if err != nil {
		return nil, err
	}
	text, err := python.command(ctx, "-c", "import platform; print(platform.python_version())").Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", python.path, err)
	}
	return &pulumirpc.AboutResponse{Executable: python.path, Version: strings.TrimSpace(string(text))}, nil
}

const listPackages = `import importlib.metadata as m, json
print(json.dumps([{"name": d.metadata["Name"], "version": d.version} for d in m.distributions()]))`

// GetProgramDependencies lists every distribution of the environment.
func (h *host) GetProgramDependencies(
	ctx context.Context, r *pulumirpc.GetProgramDependenciesRequest,
) (*pulumirpc.GetProgramDependenciesResponse, error) {
	python, err := findPython(r.GetInfo(), "")
	if err != nil {
		return nil, err
	}
	text, err := python.command(ctx, "-c", listPackages).Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", python.path, err)
	}
	var found []*pulumirpc.DependencyInfo
	err = json.Unmarshal(text, &found)
	return &pulumirpc.GetProgramDependenciesResponse{Dependencies: found}, err
}

// Cancel ends the program.
func (h *host) Cancel(context.Context, *emptypb.Empty) (*emptypb.Empty, error) {
	h.cancel()
	return &emptypb.Empty{}, nil
}

// run runs a process to its end, or until the call or this host ends.
func (h *host) run(process *exec.Cmd, cancel context.CancelFunc) error {
	stop := context.AfterFunc(h.life, cancel)
	defer stop()
	return process.Run()
}
