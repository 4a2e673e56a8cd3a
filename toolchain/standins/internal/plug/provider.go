package plug

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/blang/semver"
	"google.golang.org/grpc"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
)

// Call is one operation on one resource. Its context ends with the operation's timeout, the engine's
// cancellation and the plugin itself.
type Call struct {
	context.Context
	Name   string
	urn    string
	engine Engine
}

// Status shows a line while the resource is being worked on.
func (c Call) Status(message string) {
	c.engine.Log(c, pulumirpc.LogSeverity_INFO, c.urn, message, true)
}

// Log shows a message that stays.
func (c Call) Log(severity pulumirpc.LogSeverity, message string) {
	c.engine.Log(c, severity, c.urn, message, false)
}

// Resource is one resource type. State is its inputs, as Check left them, and what Create or Update returned.
type Resource struct {
	Inputs  Fields
	Outputs []resource.PropertyKey // known only after a run
	// Replaces tells which input cannot be changed in place; nil: none.
	Replaces func(input string) bool
	// Validate finds mistakes beyond the fields' types, once every input is known; nil: none.
	Validate func(in resource.PropertyMap) []plugin.CheckFailure
	Create   func(c Call, in resource.PropertyMap) (id string, out resource.PropertyMap, err error)
	Update   func(c Call, old, in resource.PropertyMap) (resource.PropertyMap, error)
	Delete   func(c Call, old resource.PropertyMap) error
}

// Function is one function of a provider.
type Function struct {
	Inputs Fields
	Call   func(c Call, in resource.PropertyMap) (resource.PropertyMap, error)
}

// Provider serves resources and functions to the engine.
type Provider struct {
	plugin.UnimplementedProvider
	Name      string
	Version   string
	Resources map[tokens.Type]Resource
	Functions map[tokens.ModuleMember]Function

	engine Engine
	life   context.Context
	cancel context.CancelFunc
}

// Main runs the provider as a plugin.
func (p *Provider) Main() {
	Serve(p.Version, func(ctx context.Context, server *grpc.Server, engine Engine) {
		p.engine = engine
		p.life, p.cancel = context.WithCancel(ctx)
		pulumirpc.RegisterResourceProviderServer(server, plugin.NewProviderServer(p))
	})
}

// call makes the context of one operation.
func (p *Provider) call(ctx context.Context, urn resource.URN, name string, timeout float64) (Call, func()) {
	ctx, cancel := context.WithCancel(ctx)
	if timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(timeout*float64(time.Second)))
	}
	context.AfterFunc(p.life, cancel)
	return Call{Context: ctx, Name: name, urn: string(urn), engine: p.engine}, cancel
}

func (p *Provider) resource(kind tokens.Type) (Resource, error) {
	if r, ok := p.Resources[kind]; ok {
		return r, nil
	}
	return Resource{}, fmt.Errorf("the stand-in for the %s plugin has no resource %q; it has %v",
		p.Name, kind, slices.Sorted(maps.Keys(p.Resources)))
}

// GetPluginInfo tells the version of the plugin that this one stands in for.
func (p *Provider) GetPluginInfo(context.Context) (plugin.PluginInfo, error) {
	version, err := semver.Parse(p.Version)
	return plugin.PluginInfo{Version: &version}, err
}

// Handshake agrees on what the engine may send: secrets as such.
func (p *Provider) Handshake(
	context.Context, plugin.ProviderHandshakeRequest,
) (*plugin.ProviderHandshakeResponse, error) {
	return &plugin.ProviderHandshakeResponse{AcceptSecrets: true}, nil
}

// GetSchema names the package; the stand-ins carry no schema of their resources.
func (p *Provider) GetSchema(context.Context, plugin.GetSchemaRequest) (plugin.GetSchemaResponse, error) {
	schema, err := json.Marshal(map[string]string{"name": p.Name, "version": p.Version})
	return plugin.GetSchemaResponse{Schema: schema}, err
}

// CheckConfig accepts everything: the stand-ins have no configuration.
func (p *Provider) CheckConfig(
	_ context.Context, r plugin.CheckConfigRequest,
) (plugin.CheckConfigResponse, error) {
	return plugin.CheckConfigResponse{Properties: r.News}, nil
}

// DiffConfig never asks for a new provider.
func (p *Provider) DiffConfig(context.Context, plugin.DiffConfigRequest) (plugin.DiffConfigResponse, error) {
	return plugin.DiffConfigResponse{Changes: plugin.DiffNone}, nil
}

// Configure has nothing to set.
func (p *Provider) Configure(context.Context, plugin.ConfigureRequest) (plugin.ConfigureResponse, error) {
	return plugin.ConfigureResponse{}, nil
}

// Check adds defaults and reports every mistake at once.
func (p *Provider) Check(_ context.Context, r plugin.CheckRequest) (plugin.CheckResponse, error) {
	res, err := p.resource(r.Type)
	if err != nil {
		return plugin.CheckResponse{}, err
	}
	in, failures := res.Inputs.Check("", r.News)
	if len(failures) == 0 && res.Validate != nil && !in.ContainsUnknowns() {
		failures = res.Validate(in)
	}
	return plugin.CheckResponse{Properties: in, Failures: failures}, nil
}

// Diff compares inputs with inputs: any change is an update, or a replacement where the resource says so.
func (p *Provider) Diff(_ context.Context, r plugin.DiffRequest) (plugin.DiffResponse, error) {
	res, err := p.resource(r.Type)
	if err != nil {
		return plugin.DiffResponse{}, err
	}
	diff := r.OldInputs.Diff(r.NewInputs)
	if diff == nil {
		return plugin.DiffResponse{Changes: plugin.DiffNone}, nil
	}
	result := plugin.DiffResponse{Changes: plugin.DiffSome, ChangedKeys: diff.ChangedKeys()}
	for _, key := range diff.ChangedKeys() {
		if res.Replaces != nil && res.Replaces(string(key)) {
			result.ReplaceKeys = append(result.ReplaceKeys, key)
		}
	}
	return result, nil
}

// Create makes the resource; in a preview its own outputs stay unknown.
func (p *Provider) Create(ctx context.Context, r plugin.CreateRequest) (plugin.CreateResponse, error) {
	res, err := p.resource(r.Type)
	if err != nil {
		return plugin.CreateResponse{}, err
	}
	if r.Preview {
		return plugin.CreateResponse{Properties: res.unknown(r.Properties)}, nil
	}
	call, done := p.call(ctx, r.URN, r.Name, r.Timeout)
	defer done()
	id, out, err := res.Create(call, r.Properties)
	return plugin.CreateResponse{ID: resource.ID(id), Properties: join(r.Properties, out)}, err
}

// Update changes the resource in place.
func (p *Provider) Update(ctx context.Context, r plugin.UpdateRequest) (plugin.UpdateResponse, error) {
	res, err := p.resource(r.Type)
	if err != nil {
		return plugin.UpdateResponse{}, err
	}
	if r.Preview {
		return plugin.UpdateResponse{Properties: res.unknown(r.NewInputs)}, nil
	}
	call, done := p.call(ctx, r.URN, r.Name, r.Timeout)
	defer done()
	out, err := res.Update(call, r.OldOutputs, r.NewInputs)
	return plugin.UpdateResponse{Properties: join(r.NewInputs, out)}, err
}

// Read takes the recorded state as true: these resources cannot be looked at.
func (p *Provider) Read(_ context.Context, r plugin.ReadRequest) (plugin.ReadResponse, error) {
	return plugin.ReadResponse{ReadResult: plugin.ReadResult{ID: r.ID, Inputs: r.Inputs, Outputs: r.State}}, nil
}

// Delete removes the resource, by its recorded state alone.
func (p *Provider) Delete(ctx context.Context, r plugin.DeleteRequest) (plugin.DeleteResponse, error) {
	res, err := p.resource(r.Type)
	if err != nil || res.Delete == nil {
		return plugin.DeleteResponse{}, err
	}
	call, done := p.call(ctx, r.URN, r.Name, r.Timeout)
	defer done()
	return plugin.DeleteResponse{}, res.Delete(call, r.Outputs)
}

// Invoke calls a function, also in a preview.
func (p *Provider) Invoke(ctx context.Context, r plugin.InvokeRequest) (plugin.InvokeResponse, error) {
	function, ok := p.Functions[r.Tok]
	if !ok {
		return plugin.InvokeResponse{}, fmt.Errorf("the stand-in for the %s plugin has no function %q", p.Name, r.Tok)
	}
	in, failures := function.Inputs.Check("", r.Args)
	if len(failures) > 0 {
		return plugin.InvokeResponse{Failures: failures}, nil
	}
	call, done := p.call(ctx, "", string(r.Tok), 0)
	defer done()
	out, err := function.Call(call, in)
	return plugin.InvokeResponse{Properties: join(in, out)}, err
}

// SignalCancellation ends what can be ended: waits, dials and local processes.
func (p *Provider) SignalCancellation(context.Context) error {
	p.cancel()
	return nil
}

// Close has nothing to give back.
func (p *Provider) Close() error { return nil }

func (r Resource) unknown(in resource.PropertyMap) resource.PropertyMap {
	out := resource.PropertyMap{}
	for _, key := range r.Outputs {
		out[key] = resource.MakeComputed(resource.NewProperty(""))
	}
	return join(in, out)
}

func join(in, out resource.PropertyMap) resource.PropertyMap {
	all := maps.Clone(in)
	maps.Copy(all, out)
	return all
}
