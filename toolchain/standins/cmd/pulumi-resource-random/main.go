// Command pulumi-resource-random stands in for the official random plugin where only package registries can be
// reached: passwords, strings and ids, from the operating system's generator. README.md beside go.mod says where the
// two differ.
package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"

	"lastcopy/standins/internal/plug"
)

const version = "4.21.4" // the plugin that this one stands in for

const (
	lowers   = "abcdefghijklmnopqrstuvwxyz"
	uppers   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits   = "0123456789"
	specials = "!@#$%&*()-_=+[]{}<>:?"
)

func main() {
	provider := &plug.Provider{
		Name:    "random",
		Version: version,
		Resources: map[tokens.Type]plug.Resource{
			"random:index/randomPassword:RandomPassword": text(true),
			"random:index/randomString:RandomString":     text(false),
			"random:index/randomId:RandomId":             id,
		},
	}
	provider.Main()
}

// always: a random value is never changed in place.
func always(string) bool { return true }

// request is what a password or a string must look like.
type request struct {
	Length                                int
	Lower, Upper, Numeric, Number         *bool
	Special                               *bool
	MinLower, MinUpper, MinNumeric        int
	MinSpecial                            int
	OverrideSpecial                       *string
	lowerSet, upperSet, digitSet, charSet string
}

func parse(in resource.PropertyMap) (request, error) {
	r, err := plug.Decode[request](in)
	on := func(flags ...*bool) bool {
		for _, flag := range flags {
			if flag != nil {
				return *flag
			}
		}
		return true
	}
	special := specials
	if r.OverrideSpecial != nil && *r.OverrideSpecial != "" {
		special = *r.OverrideSpecial
	}
	for _, class := range []struct {
		on    bool
		chars string
		set   *string
	}{
		{on(r.Lower), lowers, &r.lowerSet},
		{on(r.Upper), uppers, &r.upperSet},
		{on(r.Numeric, r.Number), digits, &r.digitSet},
		{on(r.Special), special, &r.charSet},
	} {
		if class.on {
			*class.set = class.chars
		}
	}
	return r, err
}

func (r request) problem() (field resource.PropertyKey, reason string) {
	least := r.MinLower + r.MinUpper + r.MinNumeric + r.MinSpecial
	switch {
	case r.Length < 1:
		return "length", fmt.Sprintf("length must be at least 1, it is %d", r.Length)
	case r.Length < least:
		return "length", fmt.Sprintf("length must be at least the sum of the min… inputs, %d, it is %d", least, r.Length)
	case r.lowerSet+r.upperSet+r.digitSet+r.charSet == "":
		return "lower", "one of lower, upper, numeric and special must be true"
	}
	return "", ""
}

// draw makes the value: the wanted number of each class, the rest from all of them, in random order.
func (r request) draw() (string, error) {
	var out []byte
	all := r.lowerSet + r.upperSet + r.digitSet + r.charSet
	for _, part := range []struct {
		chars string
		count int
	}{
		{lowers, r.MinLower}, {uppers, r.MinUpper}, {digits, r.MinNumeric}, {r.charSet, r.MinSpecial},
		{all, r.Length - r.MinLower - r.MinUpper - r.MinNumeric - r.MinSpecial},
	} {
		for range part.count {
			at, err := below(len(part.chars))
			if err != nil {
				return "", err
			}
			out = append(out, part.chars[at])
		}
	}
	for i := len(out) - 1; i > 0; i-- {
		at, err := below(i + 1)
		if err != nil {
			return "", err
		}
		out[i], out[at] = out[at], out[i]
	}
	return string(out), nil
}

// below draws evenly from 0 to n-1.
func below(n int) (int, error) {
	if n == 0 {
		return 0, fmt.Errorf("a minimum number of characters is asked of a class that has none")
	}
	at, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		return 0, err
	}
	return int(at.Int64()), nil
}

// text is a password, whose result is a secret, or a plain random string, whose result is its id.
func text(password bool) plug.Resource {
	fields := plug.Fields{
		"length": {Type: plug.Number, Required: true}, "keepers": {Type: plug.StringMap},
		"lower": {Type: plug.Bool}, "upper": {Type: plug.Bool}, "special": {Type: plug.Bool},
		"numeric": {Type: plug.Bool}, "number": {Type: plug.Bool},
		"minLower": {Type: plug.Number}, "minUpper": {Type: plug.Number},
		"minNumeric": {Type: plug.Number}, "minSpecial": {Type: plug.Number},
		"overrideSpecial": {Type: plug.String},
	}
	outputs := []resource.PropertyKey{"result"}
	if password {
		outputs = append(outputs, "bcryptHash")
	}
	return plug.Resource{
		Inputs: fields, Outputs: outputs, Replaces: always,
		Validate: func(in resource.PropertyMap) []plugin.CheckFailure {
			r, err := parse(in)
			if err != nil {
				return []plugin.CheckFailure{{Reason: err.Error()}}
			}
			if field, reason := r.problem(); reason != "" {
				return []plugin.CheckFailure{{Property: field, Reason: reason}}
			}
			return nil
		},
		Create: func(_ plug.Call, in resource.PropertyMap) (string, resource.PropertyMap, error) {
			r, err := parse(in)
			if err != nil {
				return "", nil, err
			}
			value, err := r.draw()
			if err != nil {
				return "", nil, err
			}
			out := resource.PropertyMap{
				"lower": resource.NewProperty(r.lowerSet != ""), "upper": resource.NewProperty(r.upperSet != ""),
				"numeric": resource.NewProperty(r.digitSet != ""), "number": resource.NewProperty(r.digitSet != ""),
				"special":  resource.NewProperty(r.charSet != ""),
				"minLower": resource.NewProperty(float64(r.MinLower)), "minUpper": resource.NewProperty(float64(r.MinUpper)),
				"minNumeric": resource.NewProperty(float64(r.MinNumeric)),
				"minSpecial": resource.NewProperty(float64(r.MinSpecial)),
			}
			if !password {
				out["result"] = resource.NewProperty(value)
				return value, out, nil
			}
			hash, err := bcrypt.GenerateFromPassword([]byte(value[:min(len(value), 72)]), bcrypt.DefaultCost)
			if err != nil {
				return "", nil, err
			}
			out["result"] = resource.MakeSecret(resource.NewProperty(value))
			out["bcryptHash"] = resource.MakeSecret(resource.NewProperty(string(hash)))
			return "none", out, nil
		},
	}
}

// id is a number of random bytes, in several spellings.
var id = plug.Resource{
	Inputs: plug.Fields{
		"byteLength": {Type: plug.Number, Required: true},
		"keepers":    {Type: plug.StringMap},
		"prefix":     {Type: plug.String},
	},
	Outputs:  []resource.PropertyKey{"b64Std", "b64Url", "dec", "hex"},
	Replaces: always,
	Create: func(_ plug.Call, in resource.PropertyMap) (string, resource.PropertyMap, error) {
		args, err := plug.Decode[struct {
			ByteLength int
			Prefix     string
		}](in)
		if err != nil {
			return "", nil, err
		}
		if args.ByteLength < 1 {
			return "", nil, fmt.Errorf("byteLength must be at least 1, it is %d", args.ByteLength)
		}
		bytes := make([]byte, args.ByteLength)
		if _, err := rand.Read(bytes); err != nil {
			return "", nil, err
		}
		name := base64.RawURLEncoding.EncodeToString(bytes)
		spell := func(text string) resource.PropertyValue { return resource.NewProperty(args.Prefix + text) }
		return name, resource.PropertyMap{
			"b64Std": spell(base64.StdEncoding.EncodeToString(bytes)),
			"b64Url": spell(name),
			"dec":    spell(new(big.Int).SetBytes(bytes).String()),
			"hex":    spell(strings.ToLower(hex.EncodeToString(bytes))),
		}, nil
	},
}
