package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/pulumi/pulumi/sdk/v3/go/common/util/retry"

	"lastcopy/standins/internal/plug"
)

// endpoint is one SSH server and the way in.
type endpoint struct {
	Host               string
	Port               float64
	User               string
	Password           *string
	PrivateKey         *string
	PrivateKeyPassword *string
	AgentSocketPath    *string
	HostKey            *string
	DialErrorLimit     int
	PerDialTimeout     int
}

// connection is the server that commands run on, reached directly or through a proxy.
type connection struct {
	endpoint
	Proxy *endpoint
}

func connectionFields() plug.Fields {
	fields := func() plug.Fields {
		return plug.Fields{
			"host":               {Type: plug.String, Required: true},
			"port":               {Type: plug.Number, Default: 22.0},
			"user":               {Type: plug.String, Default: "root"},
			"password":           {Type: plug.String},
			"privateKey":         {Type: plug.String},
			"privateKeyPassword": {Type: plug.String},
			"agentSocketPath":    {Type: plug.String},
			"hostKey":            {Type: plug.String},
			"dialErrorLimit":     {Type: plug.Number, Default: 10.0},
			"perDialTimeout":     {Type: plug.Number, Default: 15.0},
		}
	}
	whole := fields()
	whole["proxy"] = plug.Field{Type: plug.Object, Fields: fields()}
	return whole
}

func (e endpoint) address() string { return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port))) }

// config is what the SSH library needs; closing gives the agent's socket back.
func (e endpoint) config() (config *ssh.ClientConfig, closing func(), err error) {
	config = &ssh.ClientConfig{
		User:            e.User,
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // as in the real plugin, when no key is pinned
		Timeout:         time.Duration(e.PerDialTimeout) * time.Second,
	}
	closing = func() {}
	if e.HostKey != nil {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(*e.HostKey))
		if err != nil {
			return nil, closing, fmt.Errorf("failed to parse host key: %w", err)
		}
		config.HostKeyCallback = ssh.FixedHostKey(key)
		config.HostKeyAlgorithms = []string{key.Type()}
	}
	if e.PrivateKey != nil {
		var signer ssh.Signer
		if e.PrivateKeyPassword != nil {
			signer, err = ssh.ParsePrivateKeyWithPassphrase([]byte(*e.PrivateKey), []byte(*e.PrivateKeyPassword))
		} else {
			signer, err = ssh.ParsePrivateKey([]byte(*e.PrivateKey))
		}
		if err != nil {
			return nil, closing, err
		}
		config.Auth = append(config.Auth, ssh.PublicKeys(signer))
	}
	if e.Password != nil {
		config.Auth = append(config.Auth, ssh.Password(*e.Password), ssh.KeyboardInteractive(
			func(_, _ string, questions []string, _ []bool) ([]string, error) {
				answers := make([]string, len(questions))
				for i := range answers {
					answers[i] = *e.Password
				}
				return answers, nil
			}))
	}
	socket := os.Getenv("SSH_AUTH_SOCK")
	if e.AgentSocketPath != nil {
		socket = *e.AgentSocketPath
	}
	if socket != "" {
		conn, err := net.Dial("unix", socket) // a set but dead socket is an error, as in the real plugin
		if err != nil {
			return nil, closing, err
		}
		closing = func() { _ = conn.Close() }
		config.Auth = append(config.Auth, ssh.PublicKeysCallback(agent.NewClient(conn).Signers))
	}
	return config, closing, nil
}

// dial opens the connection; closing it also closes the connections below it.
func (con connection) dial(c plug.Call) (client *ssh.Client, closing func(), err error) {
	var closers []func()
	closing = func() {
		for i := len(closers) - 1; i >= 0; i-- {
			closers[i]()
		}
	}
	defer func() {
		if err != nil {
			closing()
		}
	}()

	config, release, err := con.config()
	if err != nil {
		return nil, closing, err
	}
	closers = append(closers, release)
	if con.Proxy == nil {
		client, err = persist(c, "Dial", con.DialErrorLimit, func() (*ssh.Client, error) {
			return ssh.Dial("tcp", con.address(), config)
		})
		if err != nil {
			return nil, closing, err
		}
		closers = append(closers, func() { _ = client.Close() })
		return client, closing, nil
	}

	proxyConfig, release, err := con.Proxy.config()
	if err != nil {
		return nil, closing, fmt.Errorf("proxy: %w", err)
	}
	closers = append(closers, release)
	proxy, err := persist(c, "Dial proxy", con.Proxy.DialErrorLimit, func() (*ssh.Client, error) {
		return ssh.Dial("tcp", con.Proxy.address(), proxyConfig)
	})
	if err != nil {
		return nil, closing, fmt.Errorf("proxy: %w", err)
	}
	closers = append(closers, func() { _ = proxy.Close() })
	client, err = persist(c, "Dial from proxy", con.DialErrorLimit, func() (*ssh.Client, error) {
		conn, err := proxy.Dial("tcp", con.address())
		if err != nil {
			return nil, err
		}
		inner, channels, requests, err := ssh.NewClientConn(conn, con.address(), config)
		if err != nil {
			_ = conn.Close()
			return nil, err
		}
		return ssh.NewClient(inner, channels, requests), nil
	})
	if err != nil {
		return nil, closing, fmt.Errorf("proxy: %w", err)
	}
	closers = append(closers, func() { _ = client.Close() })
	return client, closing, nil
}

// persist dials until it works, the limit of failures is passed (-1: never) or the call ends.
func persist(c plug.Call, what string, limit int, dial func() (*ssh.Client, error)) (*ssh.Client, error) {
	shown := strconv.Itoa(limit)
	if limit == -1 {
		shown = "inf"
	}
	ok, client, err := retry.Until(c, retry.Acceptor{Accept: func(try int, _ time.Duration) (bool, any, error) {
		client, err := dial()
		if err == nil {
			return true, client, nil
		}
		if limit > -1 && try+1 > limit {
			return true, nil, fmt.Errorf("after %d failed attempts: %w", try, err)
		}
		c.Status(fmt.Sprintf("%s %d/%s failed: retrying", what, try+1, shown))
		return false, nil, nil
	}})
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, context.Cause(c)
	}
	return client.(*ssh.Client), nil
}
