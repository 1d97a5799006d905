// Package api is the operator's kind in its two versions: v1 is stored, v1alpha1 is converted to and from it.
package api

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/conversion"
)

// Group of the kind.
const Group = "operator.conformance.example"

// Versions of the kind.
var (
	V1      = schema.GroupVersion{Group: Group, Version: "v1"}
	V1Alpha = schema.GroupVersion{Group: Group, Version: "v1alpha1"}
)

// Harbour is what is wanted of a harbour, and what there is of it.
type Harbour struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              Spec   `json:"spec"`
	Status            Status `json:"status,omitempty"`
}

// Spec of a harbour.
type Spec struct {
	// Berths is how many pods there should be.
	Berths int32 `json:"berths"`
	// Motto ends up in the pods' settings.
	Motto string `json:"motto,omitempty"`
	// Quay never changes. The older version does not know it.
	Quay string `json:"quay,omitempty"`
}

// Status of a harbour.
type Status struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Ready              int32              `json:"ready"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

// HarbourList is a list of them.
type HarbourList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Harbour `json:"items"`
}

// OldHarbour is the kind in its older version.
type OldHarbour struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              OldSpec `json:"spec"`
	Status            Status  `json:"status,omitempty"`
}

// OldSpec names the number differently.
type OldSpec struct {
	Size  int32  `json:"size"`
	Motto string `json:"motto,omitempty"`
}

// OldHarbourList is a list of them.
type OldHarbourList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []OldHarbour `json:"items"`
}

// Hub says that other versions are converted to this one.
func (*Harbour) Hub() {}

// quayKey keeps what the older version cannot say.
const quayKey = Group + "/quay"

// ConvertTo makes the newer version of this.
func (old *OldHarbour) ConvertTo(hub conversion.Hub) error {
	harbour := hub.(*Harbour)
	harbour.ObjectMeta = *old.ObjectMeta.DeepCopy()
	harbour.Spec = Spec{Berths: old.Spec.Size, Motto: old.Spec.Motto, Quay: old.Annotations[quayKey]}
	harbour.Status = old.Status
	delete(harbour.Annotations, quayKey)
	return nil
}

// ConvertFrom makes this of the newer version.
func (old *OldHarbour) ConvertFrom(hub conversion.Hub) error {
	harbour := hub.(*Harbour)
	old.ObjectMeta = *harbour.ObjectMeta.DeepCopy()
	old.Spec = OldSpec{Size: harbour.Spec.Berths, Motto: harbour.Spec.Motto}
	old.Status = harbour.Status
	if harbour.Spec.Quay != "" {
		if old.Annotations == nil {
			old.Annotations = map[string]string{}
		}
		old.Annotations[quayKey] = harbour.Spec.Quay
	}
	return nil
}

// AddToScheme makes both versions known.
func AddToScheme(scheme *runtime.Scheme) {
	scheme.AddKnownTypes(V1, &Harbour{}, &HarbourList{})
	scheme.AddKnownTypeWithName(V1Alpha.WithKind("Harbour"), &OldHarbour{})
	scheme.AddKnownTypeWithName(V1Alpha.WithKind("HarbourList"), &OldHarbourList{})
	metav1.AddToGroupVersion(scheme, V1)
	metav1.AddToGroupVersion(scheme, V1Alpha)
}

// DeepCopyObject copies.
func (h *Harbour) DeepCopyObject() runtime.Object { return copied(h) }

// DeepCopyObject copies.
func (l *HarbourList) DeepCopyObject() runtime.Object { return copied(l) }

// DeepCopyObject copies.
func (old *OldHarbour) DeepCopyObject() runtime.Object { return copied(old) }

// DeepCopyObject copies.
func (l *OldHarbourList) DeepCopyObject() runtime.Object { return copied(l) }

// copied goes through JSON: the kinds are small, and hold nothing that it loses.
func copied[T any](of *T) *T {
	text, err := json.Marshal(of)
	if err != nil {
		panic(err)
	}
	out := new(T)
	if err := json.Unmarshal(text, out); err != nil {
		panic(err)
	}
	return out
}
