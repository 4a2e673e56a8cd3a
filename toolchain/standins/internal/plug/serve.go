// Package plug holds what the three stand-ins share: how a plugin lives and dies with its engine, and a small
// resource provider on the Pulumi SDK's own provider API.
package plug

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
)

// Engine is the running engine's log. The zero value drops every message: a plugin started by hand has no engine.
type Engine struct {
	Address string
	client  pulumirpc.EngineClient
}

// Log shows a message beside the resource; an ephemeral one only while the resource is being worked on.
func (e Engine) Log(ctx context.Context, severity pulumirpc.LogSeverity, urn, message string, ephemeral bool) {
	if e.client == nil {
		return
	}
	request := &pulumirpc.LogRequest{Severity: severity, Urn: urn, Message: message, Ephemeral: ephemeral}
	if _, err := e.client.Log(ctx, request); err != nil && ctx.Err() == nil {
		fmt.Fprintf(os.Stderr, "the engine did not take a log message: %v\n", err)
	}
}

// leaveTime is well below the five seconds after which the engine kills a plugin.
const leaveTime = 2 * time.Second

// Serve runs one plugin until the engine interrupts it or is gone. The port is the first thing on stdout, as the
// engine expects. The context that register gets ends with the plugin, and so must whatever it starts.
func Serve(version string, register func(context.Context, *grpc.Server, Engine)) {
	if err := serve(version, register); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func serve(version string, register func(context.Context, *grpc.Server, Engine)) error {
	// The SDK's logging has put flags of the same names into the standard set: this one is our own.
	flags := flag.NewFlagSet(os.Args[0], flag.ExitOnError)
	showVersion := flags.Bool("version", false, "print the version and stop")
	for _, name := range []string{"tracing", "v"} {
		flags.String(name, "", "accepted from the engine, not used")
	}
	flags.Bool("logtostderr", false, "accepted from the engine, not used")
	if err := flags.Parse(os.Args[1:]); err != nil {
		return err
	}
	if *showVersion {
		fmt.Println(version)
		return nil
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, gone := context.WithCancel(ctx)
	defer gone()
	watchEngine(gone)

	engine := Engine{Address: flags.Arg(0)}
	if engine.Address != "" {
		conn, err := grpc.NewClient(engine.Address,
			grpc.WithTransportCredentials(insecure.NewCredentials()), rpcutil.GrpcChannelOptions())
		if err != nil {
			return fmt.Errorf("engine address %q: %w", engine.Address, err)
		}
		engine.client = pulumirpc.NewEngineClient(conn)
	}

	finish := make(chan bool)
	handle, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{
		Cancel: finish,
		Init: func(server *grpc.Server) error {
			register(ctx, server, engine)
			return nil
		},
	})
	if err != nil {
		return err
	}
	fmt.Println(handle.Port)

	select {
	case <-ctx.Done():
		// The engine has what it asked for, or is no more. What still runs has lost its context: it gets a moment to
		// end its own processes.
		close(finish)
		select {
		case err := <-handle.Done:
			return err
		case <-time.After(leaveTime):
			return nil
		}
	case err := <-handle.Done:
		return err
	}
}

// watchEngine calls gone when the engine's end of this plugin's standard input closes, which the kernel does even
// for an engine that was killed. Nothing is ever written to that pipe.
func watchEngine(gone func()) {
	info, err := os.Stdin.Stat()
	if err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return // started by hand
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		gone()
	}()
}
