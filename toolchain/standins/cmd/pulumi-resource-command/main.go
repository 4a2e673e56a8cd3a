// Command pulumi-resource-command stands in for the official command plugin where only package registries can be
// reached. README.md beside go.mod says where the two differ.
package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"

	"lastcopy/standins/internal/plug"
)

const version = "1.2.1" // the plugin that this one stands in for

func main() {
	provider := &plug.Provider{
		Name:    "command",
		Version: version,
		Resources: map[tokens.Type]plug.Resource{
			"command:remote:Command": remoteCommand,
			"command:local:Command":  localCommand,
		},
		Functions: map[tokens.ModuleMember]plug.Function{"command:local:run": localRun},
	}
	provider.Main()
}

// lifecycle are the inputs of both command resources.
type lifecycle struct {
	Create, Update, Delete *string
	Stdout, Stderr         string // of the run before, from state
}

// shared are the inputs of every run.
type shared struct {
	Stdin                  *string
	Logging                *string
	Environment            map[string]string
	AddPreviousOutputInEnv *bool
}

var sharedFields = plug.Fields{
	"stdin":                  {Type: plug.String},
	"logging":                {Type: plug.String},
	"environment":            {Type: plug.StringMap},
	"addPreviousOutputInEnv": {Type: plug.Bool, Default: true},
}

var lifecycleFields = plug.Fields{
	"create":   {Type: plug.String},
	"update":   {Type: plug.String},
	"delete":   {Type: plug.String},
	"triggers": {Type: plug.List},
}

// replacedByTriggers: every other change is an update in place.
func replacedByTriggers(input string) bool { return input == "triggers" }

// runner runs one command line; previous holds the outputs of the run before.
type runner func(c plug.Call, command string, in resource.PropertyMap, previous lifecycle) (resource.PropertyMap, error)

// commandResource is the life of a command, local or remote, around the way it is run.
func commandResource(inputs plug.Fields, outputs []resource.PropertyKey, run runner) plug.Resource {
	return plug.Resource{
		Inputs:   inputs,
		Outputs:  outputs,
		Replaces: replacedByTriggers,
		Create: func(c plug.Call, in resource.PropertyMap) (string, resource.PropertyMap, error) {
			args, err := plug.Decode[lifecycle](in)
			if err != nil {
				return "", nil, err
			}
			id, err := resource.NewUniqueHex(c.Name, 8, 0)
			if err != nil || args.Create == nil {
				return id, blank(), err
			}
			out, err := run(c, *args.Create, in, lifecycle{})
			return id, out, err
		},
		Update: func(c plug.Call, old, in resource.PropertyMap) (resource.PropertyMap, error) {
			previous, err := plug.Decode[lifecycle](old)
			if err != nil {
				return nil, err
			}
			args, err := plug.Decode[lifecycle](in)
			if err != nil {
				return nil, err
			}
			command := args.Update
			if command == nil {
				command = args.Create
			}
			if command == nil {
				return keep(old, outputs), nil
			}
			return run(c, *command, in, previous)
		},
		Delete: func(c plug.Call, old resource.PropertyMap) error {
			args, err := plug.Decode[lifecycle](old)
			if err != nil || args.Delete == nil {
				return err
			}
			_, err = run(c, *args.Delete, old, args)
			return err
		},
	}
}

func blank() resource.PropertyMap {
	return resource.PropertyMap{"stdout": resource.NewProperty(""), "stderr": resource.NewProperty("")}
}

func keep(old resource.PropertyMap, keys []resource.PropertyKey) resource.PropertyMap {
	out := blank()
	for _, key := range keys {
		if value, ok := old[key]; ok {
			out[key] = value
		}
	}
	return out
}

// capture collects what a command prints, and shows it as it comes where logging asks for that.
type capture struct {
	mu                   sync.Mutex
	stdout, stderr, both bytes.Buffer
	status               *lineWriter
	showOut, showErr     bool
}

func newCapture(c plug.Call, logging *string) *capture {
	mode := "stdoutAndStderr"
	if logging != nil {
		mode = *logging
	}
	return &capture{
		status:  &lineWriter{show: c.Status},
		showOut: mode == "stdout" || mode == "stdoutAndStderr",
		showErr: mode == "stderr" || mode == "stdoutAndStderr",
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func (o *capture) writer(own *bytes.Buffer, show bool) io.Writer {
	return writerFunc(func(p []byte) (int, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		own.Write(p)
		o.both.Write(p)
		if show {
			o.status.Write(p)
		}
		return len(p), nil
	})
}

func (o *capture) out() io.Writer { return o.writer(&o.stdout, o.showOut) }
func (o *capture) err() io.Writer { return o.writer(&o.stderr, o.showErr) }

// result is the outputs of a run that went well. A failed one tells the command and its output, never its stdin.
func (o *capture) result(command string, failure error) (resource.PropertyMap, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status.flush()
	if failure != nil {
		return nil, fmt.Errorf("%w: running %q:\n%s", failure, command, o.both.String())
	}
	return resource.PropertyMap{
		"stdout": resource.NewProperty(strings.TrimSuffix(o.stdout.String(), "\n")),
		"stderr": resource.NewProperty(strings.TrimSuffix(o.stderr.String(), "\n")),
	}, nil
}

// lineWriter shows whole lines.
type lineWriter struct {
	show    func(string)
	partial []byte
}

func (w *lineWriter) Write(p []byte) {
	w.partial = append(w.partial, p...)
	for {
		end := bytes.IndexByte(w.partial, '\n')
		if end < 0 {
			return
		}
		w.show(strings.ToValidUTF8(strings.TrimSuffix(string(w.partial[:end]), "\r"), "\uFFFD"))
		w.partial = w.partial[end+1:]
	}
}

func (w *lineWriter) flush() {
	if len(w.partial) > 0 {
		w.Write([]byte("\n"))
	}
}
