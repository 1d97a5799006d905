// Informer is a program as people write them with client-go: informers, typed and dynamic clients, apply, election, events. Each
// of its claims is about the cluster of KUBECONFIG.
package main

import (
	"context"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	typedcore "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"clients/kit"
)

const ns = "conformance-informer"

// World is the cluster as this program sees it.
type World struct {
	config      *rest.Config
	wire        *Wire
	client      kubernetes.Interface
	dynamic     dynamic.Interface
	metadata    metadata.Interface
	definitions apiextensions.Interface
}

func connect() *World {
	config := kit.Got(clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG")))
	config.QPS, config.Burst = 500, 1000
	wire := &Wire{}
	config.Wrap(wire.Through)
	// Custom kinds have no protobuf: their clients speak JSON.
	typed := rest.CopyConfig(config)
	typed.ContentType = "application/vnd.kubernetes.protobuf"
	typed.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	return &World{
		config: config, wire: wire,
		client:      kubernetes.NewForConfigOrDie(typed),
		dynamic:     dynamic.NewForConfigOrDie(config),
		metadata:    metadata.NewForConfigOrDie(config),
		definitions: apiextensions.NewForConfigOrDie(config),
	}
}

func queryHas(query, key string) bool {
	values, err := url.ParseQuery(query)
	return err == nil && values.Has(key) && values.Get(key) != "false" && values.Get(key) != "0"
}

func (w *World) maps() typedcore.ConfigMapInterface { return w.client.CoreV1().ConfigMaps(ns) }

// create makes a ConfigMap of one label, whose value groups those of one claim.
func (w *World) create(ctx context.Context, group, name, value string) *corev1.ConfigMap {
	made := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"group": group}}, Data: map[string]string{"v": value}}
	return kit.Got(w.maps().Create(ctx, made, metav1.CreateOptions{}))
}

// set changes a ConfigMap's value.
func (w *World) set(ctx context.Context, name, value string) *corev1.ConfigMap {
	found := kit.Got(w.maps().Get(ctx, name, metav1.GetOptions{}))
	found.Data = map[string]string{"v": value}
	return kit.Got(w.maps().Update(ctx, found, metav1.UpdateOptions{}))
}

func (w *World) remove(ctx context.Context, name string) {
	kit.Must(w.maps().Delete(ctx, name, metav1.DeleteOptions{}))
}

// isOurs says whether the server is the project's own.
func (w *World) isOurs() bool {
	return strings.Contains(kit.Got(w.client.Discovery().ServerVersion()).GitVersion, "knarr")
}

func main() {
	// What a client says of watches that are broken on purpose is not news.
	klog.SetLogger(logr.Discard())
	w := connect()
	claims := slices.Concat(w.writing(), w.mirroring(), w.sharing())
	kit.Run(func(ctx context.Context) {
		kit.Namespace(ctx, w.client, ns)
		w.forgetDefinition(ctx)
	}, claims, func(ctx context.Context) {
		w.forgetDefinition(ctx)
		kit.Must(w.client.CoreV1().Namespaces().Delete(ctx, ns, metav1.DeleteOptions{}))
	})
}
