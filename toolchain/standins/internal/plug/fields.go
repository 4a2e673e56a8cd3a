package plug

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
)

// Type is the shape a field's value must have.
type Type int

// The shapes that the stand-ins need.
const (
	String Type = iota
	Number
	Bool
	List
	StringList
	StringMap
	Object
)

var typeNames = map[Type]string{
	String: "a string", Number: "a number", Bool: "a boolean", List: "a list", StringList: "a list of strings",
	StringMap: "a map of strings", Object: "an object",
}

// Field describes one input.
type Field struct {
	Type     Type
	Required bool
	Secret   bool // kept as a secret, whatever the program says
	Default  any
	Fields   Fields // of an Object
}

// Fields are the inputs that a resource takes. No others are accepted.
type Fields map[resource.PropertyKey]Field

// Check returns the inputs with their defaults, and every mistake. A message names the field, never a value.
func (f Fields) Check(path string, in resource.PropertyMap) (resource.PropertyMap, []plugin.CheckFailure) {
	out := resource.PropertyMap{}
	var failures []plugin.CheckFailure
	fail := func(format string, args ...any) {
		// No Property: the engine would print that property's value.
		failures = append(failures, plugin.CheckFailure{Reason: fmt.Sprintf(format, args...)})
	}
	for _, key := range slices.Sorted(maps.Keys(in)) {
		field, known := f[key]
		if !known {
			fail("%s%s is not a known field; known: %v", path, key, slices.Sorted(maps.Keys(f)))
			continue
		}
		value, secret := open(in[key])
		switch {
		case value.IsNull():
			continue
		case value.IsComputed():
		case !field.Type.fits(value):
			fail("%s%s must be %s, it is a %s", path, key, typeNames[field.Type], value.TypeString())
		case field.Type == Object:
			inner, more := field.Fields.Check(path+string(key)+".", value.ObjectValue())
			value, failures = resource.NewProperty(inner), append(failures, more...)
		}
		if secret || field.Secret {
			value = resource.MakeSecret(value)
		}
		out[key] = value
	}
	for _, key := range slices.Sorted(maps.Keys(f)) {
		if _, set := out[key]; set {
			continue
		}
		if f[key].Default != nil {
			out[key] = resource.NewPropertyValue(f[key].Default)
		} else if f[key].Required {
			fail("%s%s is missing", path, key)
		}
	}
	return out, failures
}

func (t Type) fits(value resource.PropertyValue) bool {
	switch t {
	case String:
		return value.IsString()
	case Number:
		return value.IsNumber()
	case Bool:
		return value.IsBool()
	case List:
		return value.IsArray()
	case StringList:
		return value.IsArray() && !slices.ContainsFunc(value.ArrayValue(), notText)
	case StringMap:
		return value.IsObject() && !slices.ContainsFunc(slices.Collect(maps.Values(value.ObjectValue())), notText)
	default:
		return value.IsObject()
	}
}

func notText(value resource.PropertyValue) bool {
	value, _ = open(value)
	return !value.IsString() && !value.IsComputed()
}

// open takes a value out of its secret wrapping.
func open(value resource.PropertyValue) (inner resource.PropertyValue, secret bool) {
	for value.IsSecret() {
		value, secret = value.SecretValue().Element, true
	}
	return value, secret
}

// Open takes one value out of its secret wrapping; the null value stands for an unset one.
func Open(value resource.PropertyValue) resource.PropertyValue {
	value, _ = open(value)
	return value
}

// Decode fills a struct from the properties of the same names, with their secrets opened. Assets are left out.
func Decode[T any](properties resource.PropertyMap) (T, error) {
	var out T
	var bare func(resource.PropertyValue) (any, bool)
	bare = func(value resource.PropertyValue) (any, bool) {
		switch {
		case value.IsSecret():
			return value.SecretValue().Element.MapRepl(nil, bare), true
		case value.IsComputed() || value.IsAsset() || value.IsArchive():
			return nil, true
		}
		return nil, false
	}
	text, err := json.Marshal(resource.NewProperty(properties).MapRepl(nil, bare))
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		return out, fmt.Errorf("the stored properties do not fit this version of the plugin: %w", err)
	}
	return out, nil
}
