package main

import (
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"lastcopy/standins/internal/plug"
)

var localCommand = commandResource(
	localFields(lifecycleFields), []resource.PropertyKey{"stdout", "stderr", "assets", "archive"}, runLocal)

var localRun = plug.Function{
	Inputs: localFields(plug.Fields{"command": {Type: plug.String, Required: true}}),
	Call: func(c plug.Call, in resource.PropertyMap) (resource.PropertyMap, error) {
		return runLocal(c, plug.Open(in["command"]).StringValue(), in, lifecycle{})
	},
}

func localFields(more plug.Fields) plug.Fields {
	fields := maps.Clone(more)
	maps.Copy(fields, sharedFields)
	fields["dir"] = plug.Field{Type: plug.String}
	fields["interpreter"] = plug.Field{Type: plug.StringList}
	fields["assetPaths"] = plug.Field{Type: plug.StringList}
	fields["archivePaths"] = plug.Field{Type: plug.StringList}
	return fields
}

// runLocal runs one command on this machine. It ends with the call.
func runLocal(c plug.Call, command string, in resource.PropertyMap, previous lifecycle) (resource.PropertyMap, error) {
	args, err := plug.Decode[struct {
		shared
		Dir                      *string
		Interpreter              []string
		AssetPaths, ArchivePaths []string
	}](in)
	if err != nil {
		return nil, err
	}
	line := append(args.Interpreter, command)
	if len(args.Interpreter) == 0 {
		line = []string{"/bin/sh", "-c", command}
	}
	process := exec.CommandContext(c, line[0], line[1:]...)
	if args.Dir != nil {
		process.Dir = *args.Dir
	} else if process.Dir, err = os.Getwd(); err != nil {
		return nil, err
	}
	process.Env = os.Environ()
	for name, value := range args.Environment {
		process.Env = append(process.Env, name+"="+value)
	}
	if args.AddPreviousOutputInEnv == nil || *args.AddPreviousOutputInEnv {
		for _, variable := range previousOutput(previous) {
			process.Env = append(process.Env, variable[0]+"="+variable[1])
		}
	}
	if args.Stdin != nil && *args.Stdin != "" {
		process.Stdin = strings.NewReader(*args.Stdin)
	}
	output := newCapture(c, args.Logging)
	process.Stdout, process.Stderr = output.out(), output.err()
	out, err := output.result(command, process.Run())
	if err != nil {
		return nil, err
	}

	if args.AssetPaths != nil {
		assets, err := find(process.Dir, args.AssetPaths)
		if err != nil {
			return nil, err
		}
		found := resource.PropertyMap{}
		for path, asset := range assets {
			found[resource.PropertyKey(path)] = resource.NewProperty(asset.(*resource.Asset))
		}
		out["assets"] = resource.NewProperty(found)
	}
	if args.ArchivePaths != nil {
		assets, err := find(process.Dir, args.ArchivePaths)
		if err != nil {
			return nil, err
		}
		archive, err := resource.NewAssetArchive(assets)
		if err != nil {
			return nil, err
		}
		out["archive"] = resource.NewProperty(archive)
	}
	return out, nil
}

// find gives the files below dir that the globs name: in order, a glob with a leading ! takes files out again.
func find(dir string, globs []string) (map[string]any, error) {
	type rule struct {
		path   *regexp.Regexp
		remove bool
	}
	rules := make([]rule, 0, len(globs))
	for _, glob := range globs {
		pattern, remove := strings.CutPrefix(glob, "!")
		path, err := compile(pattern)
		if err != nil {
			return nil, err
		}
		rules = append(rules, rule{path, remove})
	}
	found := map[string]any{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		for _, r := range rules {
			if !r.path.MatchString(path) {
				continue
			}
			if delete(found, path); !r.remove {
				if found[path], err = resource.NewPathAsset(filepath.Join(dir, path)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return found, err
}

// compile turns a glob into a regular expression: * stops at a slash, ** does not, {a,b} is a choice.
func compile(glob string) (*regexp.Regexp, error) {
	var out strings.Builder
	depth := 0
	for i := 0; i < len(glob); i++ {
		switch ch := glob[i]; {
		case strings.HasPrefix(glob[i:], "**"):
			out.WriteString(".*")
			i++
		case ch == '*':
			out.WriteString("[^/]*")
		case ch == '?':
			out.WriteString("[^/]")
		case ch == '{':
			out.WriteString("(?:")
			depth++
		case ch == '}' && depth > 0:
			out.WriteString(")")
			depth--
		case ch == ',' && depth > 0:
			out.WriteString("|")
		default:
			out.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		}
	}
	return regexp.Compile("^" + out.String() + "$")
}
