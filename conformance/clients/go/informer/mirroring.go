package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"

	"clients/kit"
)

func (w *World) mirroring() []kit.Claim {
	return []kit.Claim{
		{Name: "a mirror begins with what is there, by one stream, and hears every change once", Check: w.mirror},
		{Name: "a resync tells everything again without asking the server", Check: w.resync},
		{Name: "a broken watch goes on where it was: nothing twice, nothing lost", Check: w.resume},
		{Name: "a mirror that slept too long begins anew and is right again", Check: w.relist},
		{Name: "a mirror with a selector hears when objects come into it and leave it", Check: w.selected},
		{Name: "custom objects are mirrored by the dynamic client", Check: w.custom},
		{Name: "names and labels alone are mirrored by the metadata client", Check: w.names},
	}
}

// Heard is what the handlers of an informer were told.
type Heard struct {
	mutex  sync.Mutex
	events []string
}

func (h *Heard) say(format string, args ...any) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.events = append(h.events, fmt.Sprintf(format, args...))
}

// All is what was heard so far.
func (h *Heard) All() []string {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return slices.Clone(h.events)
}

func (h *Heard) wait(ctx context.Context, events int) {
	kit.Eventually(ctx, func() error {
		if found := h.All(); len(found) < events {
			return fmt.Errorf("heard only %v", found)
		}
		return nil
	})
}

func (h *Heard) handlers() cache.ResourceEventHandlerDetailedFuncs {
	value := func(o any) string { m := o.(*corev1.ConfigMap); return m.Name + "=" + m.Data["v"] }
	return cache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(o any, isFirst bool) {
			if isFirst {
				h.say("first %s", value(o))
			} else {
				h.say("add %s", value(o))
			}
		},
		UpdateFunc: func(old, o any) {
			if old.(*corev1.ConfigMap).ResourceVersion == o.(*corev1.ConfigMap).ResourceVersion {
				h.say("again %s", value(o))
			} else {
				h.say("update %s", value(o))
			}
		},
		DeleteFunc: func(o any) {
			if last, is := o.(cache.DeletedFinalStateUnknown); is {
				h.say("missed the end of %s", value(last.Obj))
				return
			}
			h.say("delete %s", value(o))
		},
	}
}

// Mirror is an informer of the ConfigMaps of one group.
type Mirror struct {
	Heard
	informer cache.SharedIndexInformer
	stop     func()
}

func (w *World) start(ctx context.Context, selector string, resync time.Duration) *Mirror {
	factory := informers.NewSharedInformerFactoryWithOptions(w.client, resync, informers.WithNamespace(ns),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = selector }))
	mirror := &Mirror{informer: factory.Core().V1().ConfigMaps().Informer()}
	kit.Got(mirror.informer.AddEventHandler(mirror.handlers()))
	stop := make(chan struct{})
	factory.Start(stop)
	mirror.stop = func() { close(stop); factory.Shutdown() }
	if !cache.WaitForCacheSync(ctx.Done(), mirror.informer.HasSynced) {
		mirror.stop()
		kit.Fail("the mirror did not fill")
	}
	return mirror
}

// holds is what the mirror holds now.
func (m *Mirror) holds() map[string]string {
	found := map[string]string{}
	for _, o := range m.informer.GetStore().List() {
		found[o.(*corev1.ConfigMap).Name] = o.(*corev1.ConfigMap).Data["v"]
	}
	return found
}

func (w *World) mirror(ctx context.Context) {
	for n := range 3 {
		w.create(ctx, "mirror", fmt.Sprintf("m%d", n), "0")
	}
	from := w.wire.Count()
	mirror := w.start(ctx, "group=mirror", 0)
	defer mirror.stop()
	first := slices.Sorted(slices.Values(mirror.All()))
	kit.Equal("what was there", first, []string{"first m0=0", "first m1=0", "first m2=0"})
	w.create(ctx, "mirror", "m3", "0")
	w.set(ctx, "m3", "1")
	w.set(ctx, "m0", "1")
	w.remove(ctx, "m3")
	mirror.wait(ctx, 7)
	kit.Equal("changes", mirror.All()[3:], []string{"add m3=0", "update m3=1", "update m0=1", "delete m3=1"})
	kit.Equal("mirror", mirror.holds(), map[string]string{"m0": "1", "m1": "0", "m2": "0"})
	lister := cache.NewGenericLister(mirror.informer.GetIndexer(), schema.GroupResource{Resource: "configmaps"})
	kit.Equal("listed", len(kit.Got(lister.ByNamespace(ns).List(labels.Everything()))), 3)
	w.askedForOneStream(from)
}

// askedForOneStream holds that a mirror was filled by a stream that begins with what is there. A kube-apiserver over an etcd without
// progress notifications breaks that off, and clients list instead; ours does not.
func (w *World) askedForOneStream(from int) {
	lists, streams := 0, 0
	for _, asked := range w.wire.Since(from) {
		values, _ := url.ParseQuery(asked.Query)
		switch {
		case asked.Method != "GET" || !strings.HasSuffix(asked.Path, "/configmaps"):
		case asked.IsWatch() && values.Get("sendInitialEvents") == "true":
			streams++
		case !asked.IsWatch():
			lists++
		}
	}
	if streams == 0 || lists > 0 && w.isOurs() {
		kit.Fail("%d streams that begin with what is there, %d lists", streams, lists)
	}
}

func (w *World) resync(ctx context.Context) {
	for n := range 2 {
		w.create(ctx, "resync", fmt.Sprintf("r%d", n), "0")
	}
	mirror := w.start(ctx, "group=resync", time.Second)
	defer mirror.stop()
	// The watch that follows the first objects may come after them.
	kit.Wait(ctx, "a watch begins", func() bool { return w.wire.Count() > 0 })
	mirror.wait(ctx, 4)
	from := w.wire.Count()
	mirror.wait(ctx, 6)
	kit.Equal("requests while resyncing", len(w.wire.Since(from)), 0)
	again := slices.Compact(slices.Sorted(slices.Values(mirror.All()[2:])))
	kit.Equal("told again", again, []string{"again r0=0", "again r1=0"})
}

func (w *World) resume(ctx context.Context) {
	w.create(ctx, "resume", "s0", "0")
	mirror := w.start(ctx, "group=resume", 0)
	defer mirror.stop()
	mirror.wait(ctx, 1)
	wanted := mirror.All()
	for round := 1; round <= 3; round++ {
		// A watch that ends within a second without an event makes a reflector begin anew.
		time.Sleep(1100 * time.Millisecond)
		release := w.wire.Hold()
		name := fmt.Sprintf("s%d", round)
		w.create(ctx, "resume", name, "0")
		w.set(ctx, name, "1")
		w.set(ctx, "s0", fmt.Sprint(round))
		release()
		wanted = append(wanted, "add "+name+"=0", "update "+name+"=1", fmt.Sprintf("update s0=%d", round))
		mirror.wait(ctx, len(wanted))
	}
	kit.Equal("events", mirror.All(), wanted)
}

// bigWrites is how many large writes make a server with a bounded history forget: 48 of 800 kB.
const bigWrites = 48

func (w *World) relist(ctx context.Context) {
	w.create(ctx, "relist", "kept", "0")
	w.create(ctx, "relist", "lost", "0")
	mirror := w.start(ctx, "group=relist", 0)
	defer mirror.stop()
	from := w.wire.Count()
	release := w.wire.Hold()
	w.create(ctx, "noise", "noise", "")
	for range bigWrites {
		bytes := make([]byte, 600_000)
		kit.Got(rand.Read(bytes))
		w.set(ctx, "noise", base64.StdEncoding.EncodeToString(bytes))
	}
	w.set(ctx, "kept", "1")
	w.remove(ctx, "lost")
	w.create(ctx, "relist", "new", "0")
	release()
	kit.Eventually(ctx, func() error {
		if found := mirror.holds(); !maps.Equal(found, map[string]string{"kept": "1", "new": "0"}) {
			return fmt.Errorf("the mirror holds %v", found)
		}
		return nil
	})
	if w.isOurs() {
		// A history of 32 MiB does not hold the writes: the watch was told 410, and what is gone was missed.
		if !slices.Contains(mirror.All(), "missed the end of lost=0") {
			kit.Fail("heard %v", mirror.All())
		}
		w.askedForOneStream(from)
	}
	w.remove(ctx, "noise")
}

func (w *World) selected(ctx context.Context) {
	w.create(ctx, "outside", "c0", "0")
	mirror := w.start(ctx, "group=inside", 0)
	defer mirror.stop()
	move := func(name, group string) {
		patch := fmt.Sprintf(`{"metadata":{"labels":{"group":%q}}}`, group)
		kit.Got(w.client.CoreV1().ConfigMaps(ns).Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}))
	}
	move("c0", "inside")
	w.set(ctx, "c0", "1")
	move("c0", "outside")
	w.set(ctx, "c0", "2")
	move("c0", "inside")
	mirror.wait(ctx, 4)
	kit.Equal("events", mirror.All(), []string{"add c0=0", "update c0=1", "delete c0=1", "add c0=2"})
}

var ships = schema.GroupVersionResource{Group: "go.conformance.example", Version: "v1", Resource: "ships"}

func (w *World) forgetDefinition(ctx context.Context) {
	definitions := w.definitions.ApiextensionsV1().CustomResourceDefinitions()
	err := definitions.Delete(ctx, "ships."+ships.Group, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		kit.Must(err)
	}
	kit.Wait(ctx, "the definition goes", func() bool {
		_, err := definitions.Get(ctx, "ships."+ships.Group, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

func (w *World) define(ctx context.Context) {
	integer := apiextensionsv1.JSONSchemaProps{Type: "integer", Default: &apiextensionsv1.JSON{Raw: []byte("3")}}
	object := func(properties map[string]apiextensionsv1.JSONSchemaProps) apiextensionsv1.JSONSchemaProps {
		return apiextensionsv1.JSONSchemaProps{Type: "object", Properties: properties}
	}
	root := object(map[string]apiextensionsv1.JSONSchemaProps{
		"spec":   object(map[string]apiextensionsv1.JSONSchemaProps{"crew": integer, "sail": {Type: "string"}}),
		"status": object(map[string]apiextensionsv1.JSONSchemaProps{"phase": {Type: "string"}}),
	})
	definition := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "ships." + ships.Group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: ships.Group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Kind: "Ship", ListKind: "ShipList", Plural: "ships", Singular: "ship"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Schema:       &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &root},
				Subresources: &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}},
			}},
		},
	}
	definitions := w.definitions.ApiextensionsV1().CustomResourceDefinitions()
	kit.Got(definitions.Create(ctx, definition, metav1.CreateOptions{}))
	kit.Wait(ctx, "the definition is established", func() bool {
		for _, c := range kit.Got(definitions.Get(ctx, definition.Name, metav1.GetOptions{})).Status.Conditions {
			if c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue {
				return true
			}
		}
		return false
	})
}

func ship(name string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": ships.GroupVersion().String(), "kind": "Ship", "metadata": map[string]any{"name": name}, "spec": spec,
	}}
}

func (w *World) custom(ctx context.Context) {
	w.define(ctx)
	client := w.dynamic.Resource(ships).Namespace(ns)
	kit.Eventually(ctx, func() error {
		_, err := client.Create(ctx, ship("knarr", map[string]any{"sail": "red"}), metav1.CreateOptions{})
		return err
	})
	factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(w.dynamic, 0, ns, nil)
	informer := factory.ForResource(ships).Informer()
	heard := &Heard{}
	tell := func(verb string) func(any) {
		return func(o any) {
			crew, _, _ := unstructured.NestedInt64(o.(*unstructured.Unstructured).Object, "spec", "crew")
			heard.say("%s %s=%d", verb, o.(*unstructured.Unstructured).GetName(), crew)
		}
	}
	kit.Got(informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: tell("add"), UpdateFunc: func(_, o any) { tell("update")(o) }, DeleteFunc: tell("delete"),
	}))
	stop := make(chan struct{})
	defer factory.Shutdown()
	defer close(stop)
	factory.Start(stop)
	factory.WaitForCacheSync(ctx.Done())
	applied := kit.Got(client.Apply(ctx, "skiff", ship("skiff", map[string]any{"crew": int64(2)}), metav1.ApplyOptions{FieldManager: "captain"}))
	kit.Equal("generation", applied.GetGeneration(), int64(1))
	kit.Got(client.Patch(ctx, "skiff", types.MergePatchType, []byte(`{"spec":{"crew":4}}`), metav1.PatchOptions{}))
	_, err := client.Apply(ctx, "skiff", ship("skiff", map[string]any{"crew": int64(5)}), metav1.ApplyOptions{FieldManager: "captain"})
	kit.Refused(err, apierrors.IsConflict, ".spec.crew")
	found := kit.Got(client.Get(ctx, "skiff", metav1.GetOptions{}))
	kit.Must(unstructured.SetNestedField(found.Object, "At sea", "status", "phase"))
	kit.Must(unstructured.SetNestedField(found.Object, int64(9), "spec", "crew"))
	found = kit.Got(client.UpdateStatus(ctx, found, metav1.UpdateOptions{}))
	crew, _, _ := unstructured.NestedInt64(found.Object, "spec", "crew")
	kit.Equal("crew after a write of the status", crew, int64(4))
	kit.Must(client.Delete(ctx, "skiff", metav1.DeleteOptions{}))
	heard.wait(ctx, 5)
	kit.Equal("events", heard.All(), []string{"add knarr=3", "add skiff=2", "update skiff=4", "update skiff=4", "delete skiff=4"})
}

func (w *World) names(ctx context.Context) {
	factory := metadatainformer.NewFilteredSharedInformerFactory(w.metadata, 0, ns, nil)
	maps, ofShips := factory.ForResource(corev1.SchemeGroupVersion.WithResource("configmaps")), factory.ForResource(ships)
	maps.Informer()
	ofShips.Informer()
	stop := make(chan struct{})
	defer factory.Shutdown()
	defer close(stop)
	factory.Start(stop)
	factory.WaitForCacheSync(ctx.Done())
	w.create(ctx, "names", "named", "1")
	kit.Eventually(ctx, func() error {
		found, err := maps.Lister().ByNamespace(ns).Get("named")
		if err != nil {
			return err
		}
		kit.Equal("labels", found.(*metav1.PartialObjectMetadata).Labels, map[string]string{"group": "names"})
		return nil
	})
	kit.Equal("ships", len(kit.Got(ofShips.Lister().List(labels.Everything()))), 1)
}
