package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"

	"lastcopy/standins/internal/plug"
)

var remoteCommand = commandResource(remoteFields(), []resource.PropertyKey{"stdout", "stderr"}, runRemote)

func remoteFields() plug.Fields {
	fields := maps.Clone(lifecycleFields)
	maps.Copy(fields, sharedFields)
	fields["connection"] = plug.Field{Type: plug.Object, Required: true, Secret: true, Fields: connectionFields()}
	return fields
}

// runRemote runs one command over one connection of its own, without a terminal. Once the command has started it is
// waited for, whatever happens to the call: only the remote side knows how far it got.
func runRemote(c plug.Call, command string, in resource.PropertyMap, previous lifecycle) (resource.PropertyMap, error) {
	args, err := plug.Decode[struct {
		shared
		Connection connection
	}](in)
	if err != nil {
		return nil, err
	}
	client, closing, err := args.Connection.dial(c)
	if err != nil {
		return nil, err
	}
	defer closing()
	session, err := client.NewSession()
	if err != nil {
		return nil, err
	}
	defer session.Close()

	for _, name := range slices.Sorted(maps.Keys(args.Environment)) {
		if err := setenv(c, session, pulumirpc.LogSeverity_ERROR, name, args.Environment[name]); err != nil {
			return nil, err
		}
	}
	if args.AddPreviousOutputInEnv == nil || *args.AddPreviousOutputInEnv {
		for _, variable := range previousOutput(previous) {
			// A server that refuses these two gets the command without them.
			_ = setenv(c, session, pulumirpc.LogSeverity_WARNING, variable[0], variable[1])
		}
	}
	if args.Stdin != nil && *args.Stdin != "" {
		session.Stdin = strings.NewReader(*args.Stdin)
	}
	output := newCapture(c, args.Logging)
	session.Stdout, session.Stderr = output.out(), output.err()
	return output.result(command, session.Run(command))
}

// previousOutput are the variables that carry the last run's output, as far as there was any.
func previousOutput(previous lifecycle) (variables [][2]string) {
	if previous.Stdout != "" {
		variables = append(variables, [2]string{"PULUMI_COMMAND_STDOUT", previous.Stdout})
	}
	if previous.Stderr != "" {
		variables = append(variables, [2]string{"PULUMI_COMMAND_STDERR", previous.Stderr})
	}
	return variables
}

func setenv(c plug.Call, session *ssh.Session, severity pulumirpc.LogSeverity, name, value string) error {
	err := session.Setenv(name, value)
	if err == nil {
		return nil
	}
	c.Log(severity, fmt.Sprintf("Unable to set '%s': the SSH server takes only the variables that its AcceptEnv "+
		"names. With a shell on the other side, 'NAME=value command' does the same.", name))
	return fmt.Errorf("could not set environment variable %q: %w", name, err)
}
