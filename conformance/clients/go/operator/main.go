// Operator is a program as people write them with controller-runtime: a kind of its own in two versions, webhooks for it, and a
// reconciler. It runs all of it against the cluster of KUBECONFIG, and claims what must come of it.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"clients/kit"
	"clients/operator/api"
)

const ns = "conformance-operator"

// Warned keeps the warnings of answers.
type Warned struct {
	mutex sync.Mutex
	texts []string
}

// HandleWarningHeader keeps one.
func (w *Warned) HandleWarningHeader(code int, _, text string) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.texts = append(w.texts, fmt.Sprintf("%d %s", code, text))
}

// Take gives what was warned of since the last time.
func (w *Warned) Take() []string {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	texts := w.texts
	w.texts = nil
	return texts
}

// World is the cluster as this program sees it.
type World struct {
	client.Client
	config  *rest.Config
	warned  *Warned
	scheme  *runtime.Scheme
	url     string
	bundle  []byte
	home    string
	port    int
	running context.CancelFunc
}

func connect() *World {
	w := &World{config: kit.Got(clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))), warned: &Warned{}, scheme: runtime.NewScheme()}
	w.config.QPS, w.config.Burst = 200, 400
	kit.Must(scheme.AddToScheme(w.scheme))
	kit.Must(apiextensionsv1.AddToScheme(w.scheme))
	api.AddToScheme(w.scheme)
	own := rest.CopyConfig(w.config)
	own.WarningHandler = w.warned
	w.Client = kit.Got(client.New(own, client.Options{Scheme: w.scheme}))
	w.home = kit.Got(os.MkdirTemp("", "conformance-operator-"))
	w.bundle = certificate(w.home)
	listener := kit.Got(net.Listen("tcp", "127.0.0.1:0"))
	w.port = listener.Addr().(*net.TCPAddr).Port
	kit.Must(listener.Close())
	w.url = fmt.Sprintf("https://127.0.0.1:%d", w.port)
	return w
}

// run starts the operator's manager: caches, webhooks, election, controller.
func (w *World) run() {
	manager := kit.Got(ctrl.NewManager(w.config, ctrl.Options{
		Scheme: w.scheme, Metrics: server.Options{BindAddress: "0"},
		LeaderElection: true, LeaderElectionID: "operator", LeaderElectionNamespace: ns, LeaderElectionReleaseOnCancel: true,
		Cache:         cache.Options{DefaultNamespaces: map[string]cache.Config{ns: {}}},
		WebhookServer: webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: w.port, CertDir: w.home}),
	}))
	kit.Must(ctrl.NewWebhookManagedBy(manager, &api.Harbour{}).WithDefaulter(Defaults{}).WithValidator(Judge{}).Complete())
	reconciler := &Reconciler{Client: manager.GetClient(), recorder: manager.GetEventRecorder("harbour-operator")}
	kit.Must(ctrl.NewControllerManagedBy(manager).For(&api.Harbour{}).Owns(&appsv1.Deployment{}).Owns(&corev1.ConfigMap{}).Complete(reconciler))
	ctx, cancel := context.WithCancel(context.Background())
	w.running = cancel
	go func() {
		if err := manager.Start(ctx); err != nil {
			fmt.Println("FAIL the manager ended:", err)
		}
	}()
}

func main() {
	klog.SetLogger(logr.Discard())
	ctrl.SetLogger(logr.Discard())
	w := connect()
	kit.Run(func(ctx context.Context) {
		forget(ctx, w)
		kit.Namespace(ctx, kubernetes.NewForConfigOrDie(w.config), ns)
	}, w.claims(), func(ctx context.Context) {
		// The reconciler stops first: it would take harbours by the hand again.
		w.running()
		forget(ctx, w)
		os.RemoveAll(w.home)
		kit.Must(w.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}))
	})
}
